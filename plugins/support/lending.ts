import { accountsOf, type Client, type ClientBounds } from './client-limits.ts'
import type { Clock, Timer } from './clock.ts'
import { OverloadedError, TooManyAtOnceError } from './errors.ts'

/** A thing for as long as a client has something to do with it. */
export interface Loan<Thing> {
  readonly thing: Thing
  /** After this it may be closed. Calling it again does nothing. */
  release(): void
}

interface Open<Thing> {
  readonly name: string
  readonly thing: Thing
  /** The application has it, so it stays open. */
  kept: boolean
  /** How often it is borrowed now. */
  borrowed: number
  /** Who it is counted for, with how often they borrow it. While nobody does: for the last one. */
  readonly accounts: Map<string, number>
  /** When it was given back by the last one. */
  idleSince: number
  idle: Timer | undefined
}

export interface LendingOptions<Thing> {
  /** The plural, for messages. */
  what: string
  /** How many the application may have. */
  kept: number
  /** What is thrown when it asks for more. */
  tooManyKept(count: number): Error
  /** How many clients may have, and the milliseconds after which one is closed that nobody has borrowed. */
  clients: ClientBounds & { idle: number }
  clock: Clock
  open(name: string, forClient: boolean): Thing
  /** After this call, before it resolves, the thing writes nothing more: the same one may be opened again at once. */
  close(thing: Thing): Promise<void>
  /** It cannot be closed at this moment. */
  busy(thing: Thing): boolean
  onClosing?(thing: Thing): void
  onError(error: unknown, what: string): void
}

/**
 * Things that have a name and cost something while they are open: spaces, cache namespaces. One is *kept* once the
 * application has asked for it: it stays open and counts within the application's own bound. Others are *borrowed* by
 * clients, within the bounds of clients, and closed when nobody has borrowed them for a while. So whatever clients do,
 * the application has its own.
 *
 *   (not open) --keep--> kept
 *   (not open) --borrow--> borrowed --last release--> idle --after `idle`, or when room is needed--> (not open)
 *                              ^---------borrow---------|
 *   borrowed, idle --keep--> kept
 */
export class Lending<Thing> {
  readonly #options: LendingOptions<Thing>
  readonly #open = new Map<string, Open<Thing>>()
  /** How many borrowed or idle spaces count for an account. */
  readonly #counts = new Map<string, number>()
  #kept = 0
  #closed = false

  constructor(options: LendingOptions<Thing>) {
    this.#options = options
  }

  all(): Thing[] {
    return Array.from(this.#open.values(), ({ thing }) => thing)
  }

  get size(): number {
    return this.#open.size
  }

  get(name: string): Thing | undefined {
    return this.#open.get(name)?.thing
  }

  /** Takes one in that is open already. */
  adopt(name: string, thing: Thing): void {
    this.#kept++
    this.#open.set(name, { name, thing, kept: true, borrowed: 0, accounts: new Map(), idleSince: 0, idle: undefined })
  }

  /** @throws `tooManyKept` */
  keep(name: string): Thing {
    const known = this.#open.get(name)
    if (known?.kept) return known.thing
    if (this.#kept >= this.#options.kept) throw this.#options.tooManyKept(this.#kept)
    const open = known ?? this.#add(name, false)
    this.#uncountAll(open)
    open.idle?.cancel()
    open.kept = true
    this.#kept++
    return open.thing
  }

  /** @throws STATEFUL_TOO_MANY_AT_ONCE, STATEFUL_OVERLOADED */
  borrow(name: string, client: Client): Loan<Thing> {
    const known = this.#open.get(name)
    if (known?.kept) return { thing: known.thing, release() {} }
    const accounts = accountsOf(client)
    for (const [account, bound] of accounts) {
      if (!known?.accounts.has(account)) this.#makeRoomFor(account, bound)
    }
    if (!known) this.#makeRoom()
    const open = known ?? this.#add(name, true)
    open.idle?.cancel()
    open.idle = undefined
    if (open.borrowed++ === 0) this.#uncountAll(open)
    for (const [account] of accounts) this.#count(open, account)
    let released = false
    return {
      thing: open.thing,
      release: () => {
        if (!released) this.#release(open, accounts)
        released = true
      },
    }
  }

  /** @param except whose owner closes it */
  async close(except: Thing): Promise<void> {
    this.#closed = true
    for (const { idle } of this.#open.values()) idle?.cancel()
    const others = this.all().filter((thing) => thing !== except)
    await Promise.all(others.map((thing) => this.#options.close(thing)))
  }

  /** It could not be opened: the next call tries again. */
  forget(thing: Thing): void {
    for (const open of this.#open.values()) if (open.thing === thing) this.#close(open)
  }

  #add(name: string, forClient: boolean): Open<Thing> {
    if (this.#closed) throw new OverloadedError()
    const thing = this.#options.open(name, forClient)
    const open = { name, thing, kept: false, borrowed: 0, accounts: new Map(), idleSince: 0, idle: undefined }
    this.#open.set(name, open)
    return open
  }

  #release(open: Open<Thing>, accounts: ReturnType<typeof accountsOf>): void {
    open.borrowed--
    if (this.#open.get(open.name) !== open || open.kept) return
    if (open.borrowed > 0) {
      for (const [account] of accounts) this.#uncount(open, account)
      return
    }
    if (this.#closed) return
    open.idleSince = this.#options.clock.monotonic()
    this.#closeWhenIdle(open)
  }

  #closeWhenIdle(open: Open<Thing>): void {
    const { clock, clients } = this.#options
    open.idle = clock.after(clients.idle, () => {
      // A write under way, such as the deletion of a key whose time is up, ends first.
      if (this.#options.busy(open.thing)) this.#closeWhenIdle(open)
      else this.#close(open)
    })
  }

  #close(open: Open<Thing>): void {
    const { name, thing } = open
    if (this.#open.get(name) !== open) return
    open.idle?.cancel()
    this.#open.delete(name)
    if (open.kept) this.#kept--
    this.#uncountAll(open)
    this.#options.onClosing?.(thing)
    this.#options.close(thing).catch((error) => this.#options.onError(error, `${name}: could not be closed`))
  }

  /** @throws STATEFUL_TOO_MANY_AT_ONCE */
  #makeRoomFor(account: string, bound: 'perUser' | 'perSession'): void {
    const most = this.#options.clients[bound]
    if ((this.#counts.get(account) ?? 0) < most) return
    const idle = this.#oldestIdle(({ accounts }) => accounts.has(account))
    if (!idle) throw new TooManyAtOnceError(most, this.#options.what)
    this.#close(idle)
  }

  /** @throws STATEFUL_OVERLOADED */
  #makeRoom(): void {
    if (this.#open.size - this.#kept < this.#options.clients.total) return
    const idle = this.#oldestIdle(() => true)
    if (!idle) throw new OverloadedError()
    this.#close(idle)
  }

  #oldestIdle(matches: (open: Open<Thing>) => boolean): Open<Thing> | undefined {
    let oldest: Open<Thing> | undefined
    for (const open of this.#open.values()) {
      if (open.kept || open.borrowed > 0 || this.#options.busy(open.thing) || !matches(open)) continue
      if (!oldest || open.idleSince < oldest.idleSince) oldest = open
    }
    return oldest
  }

  #count(open: Open<Thing>, account: string): void {
    const times = open.accounts.get(account) ?? 0
    open.accounts.set(account, times + 1)
    if (times === 0) this.#counts.set(account, (this.#counts.get(account) ?? 0) + 1)
  }

  #uncount(open: Open<Thing>, account: string): void {
    const times = (open.accounts.get(account) ?? 0) - 1
    if (times > 0) {
      open.accounts.set(account, times)
      return
    }
    if (!open.accounts.delete(account)) return
    const count = (this.#counts.get(account) ?? 0) - 1
    if (count > 0) this.#counts.set(account, count)
    else this.#counts.delete(account)
  }

  #uncountAll(open: Open<Thing>): void {
    for (const account of [...open.accounts.keys()]) {
      open.accounts.set(account, 1)
      this.#uncount(open, account)
    }
  }
}

import { accountsOf, type Client, type ClientBounds } from './client-limits.ts'
import type { Clock, Timer } from './clock.ts'
import { OverloadedError, TooManyAtOnceError } from './errors.ts'

/** Milliseconds after which those who wait for a place look again, when they are not told that there may be one. */
const NEXT_LOOK = 10

/** A thing for as long as a client has something to do with it. */
export interface Loan<Thing> {
  readonly thing: Thing
  /** After this it may be closed. Calling it again does nothing. */
  release(): void
}

interface Open<Thing> {
  readonly name: string
  readonly thing: Thing
  /** The application has it: it counts within its bound, and clients that borrow it are not counted. */
  kept: boolean
  /** It is never closed for another. */
  stays: boolean
  /** How often it is borrowed now. */
  borrowed: number
  /** Who it is counted for, with how often they borrow it. While none does: for the last one. */
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
  /**
   * Of things that can be closed while the application has them, and opened again. Default: what is kept stays open.
   */
  reopens?: {
    /** When it was used: the higher, the later. */
    lastUse(thing: Thing): number
    /** Milliseconds that one who wants to open another waits for one that can be closed. */
    patience: number
    /** How many may wait. */
    waiting: number
  }
  /** How many clients may have, and the milliseconds after which one that is not borrowed is closed. */
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

/** The application wants one to be open. */
interface Wish<Thing> {
  readonly name: string
  /** On the monotonic clock. */
  readonly until: number
  resolve(thing: Thing): void
  reject(error: unknown): void
}

/**
 * Things that have a name and cost something while they are open: spaces, cache namespaces. One is *kept* once the
 * application has asked for it: it counts within the application's own bound. Others are *borrowed* by clients, within
 * the bounds of clients, and closed when they have not been borrowed for a while. So whatever clients do, the
 * application has its own.
 *
 *   (not open) --keep--> kept
 *   (not open) --borrow--> borrowed --last release--> idle --after `idle`, or when room is needed--> (not open)
 *                              ^---------borrow---------|
 *   borrowed, idle --keep--> kept
 *
 * What is kept stays open, unless such things can be opened again. Then the one that was used the longest time ago
 * gives its place to the next one, between two turns of the event loop:
 *
 *   kept, neither busy nor borrowed --room is needed--> (not open)
 *   kept, but borrowed by clients --room is needed--> borrowed
 */
export class Lending<Thing> {
  readonly #options: LendingOptions<Thing>
  readonly #open = new Map<string, Open<Thing>>()
  /** How many borrowed or idle spaces count for an account. */
  readonly #counts = new Map<string, number>()
  /** In the order in which they came. */
  readonly #wishes: Wish<Thing>[] = []
  readonly #closings = new Set<Promise<void>>()
  #kept = 0
  #looking = false
  #nextLook: Timer | undefined
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

  /** Takes one in that is open already, and stays open. */
  adopt(name: string, thing: Thing): void {
    this.#kept++
    this.#open.set(name, { ...opened(name, thing), kept: true, stays: true })
  }

  /** @throws `tooManyKept` */
  keep(name: string): Thing {
    const thing = this.keepIfThereIsRoom(name)
    if (thing === undefined) throw this.#options.tooManyKept(this.#kept)
    return thing
  }

  /** @returns `undefined` when the application has as many open as it may */
  keepIfThereIsRoom(name: string): Thing | undefined {
    const known = this.#open.get(name)
    if (known?.kept) return known.thing
    if (this.#kept >= this.#options.kept) return undefined
    const open = known ?? this.#add(name, false)
    open.idle?.cancel()
    open.idle = undefined
    if (open.borrowed === 0) this.#forgetAccounts(open)
    for (const account of open.accounts.keys()) this.#uncount(account)
    open.kept = true
    open.stays = this.#options.reopens === undefined
    this.#kept++
    return open.thing
  }

  /**
   * Closes another one for it, and waits for that.
   * @throws `tooManyKept` when all have been in use for as long as it may wait
   */
  keepAsSoonAsThereIsRoom(name: string): Promise<Thing> {
    const { reopens, tooManyKept, clock } = this.#options
    return new Promise((resolve, reject) => {
      const thing = this.#wishes.length === 0 ? this.keepIfThereIsRoom(name) : undefined
      if (thing !== undefined) return resolve(thing)
      if (this.#closed || !reopens || this.#wishes.length >= reopens.waiting) return reject(tooManyKept(this.#kept))
      this.#wishes.push({ name, until: clock.monotonic() + reopens.patience, resolve, reject })
      this.look()
    })
  }

  /** @throws STATEFUL_TOO_MANY_AT_ONCE, STATEFUL_OVERLOADED */
  borrow(name: string, client: Client): Loan<Thing> {
    const known = this.#open.get(name)
    if (known?.stays) return { thing: known.thing, release() {} }
    const accounts = accountsOf(client)
    if (!known?.kept) {
      for (const [account, bound] of accounts) {
        if (!known?.accounts.has(account)) this.#makeRoomFor(account, bound)
      }
    }
    if (!known) this.#makeRoomForClients()
    const open = known ?? this.#add(name, true)
    open.idle?.cancel()
    open.idle = undefined
    if (open.borrowed++ === 0) this.#forgetAccounts(open)
    for (const [account] of accounts) this.#enter(open, account)
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
    this.#nextLook?.cancel()
    for (const { reject } of this.#wishes.splice(0)) reject(new OverloadedError())
    for (const { idle } of this.#open.values()) idle?.cancel()
    const others = this.all().filter((thing) => thing !== except)
    await Promise.all([...others.map((thing) => this.#options.close(thing)), ...this.#closings])
  }

  /** It could not be opened: the next call tries again. */
  forget(thing: Thing): void {
    for (const open of this.#open.values()) if (open.thing === thing) this.#close(open)
  }

  #add(name: string, forClient: boolean): Open<Thing> {
    if (this.#closed) throw new OverloadedError()
    const open = opened(name, this.#options.open(name, forClient))
    this.#open.set(name, open)
    return open
  }

  #release(open: Open<Thing>, accounts: ReturnType<typeof accountsOf>): void {
    open.borrowed--
    if (this.#open.get(open.name) !== open) return
    if (open.borrowed > 0) {
      for (const [account] of accounts) this.#leave(open, account)
      return
    }
    if (open.kept) {
      this.#forgetAccounts(open)
      this.look()
    }
    if (open.kept || this.#closed) return
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
    this.#forgetAccounts(open)
    if (open.kept) this.#kept--
    this.look()
    this.#options.onClosing?.(thing)
    const closing = this.#options
      .close(thing)
      .catch((error) => this.#options.onError(error, `${name}: could not be closed`))
      .finally(() => this.#closings.delete(closing))
    this.#closings.add(closing)
  }

  // --- the application's ------------------------------------------------------------------------

  /** One that was busy may not be so any more: those who wait for a place look for it. */
  look(): void {
    if (this.#looking || this.#wishes.length === 0) return
    this.#looking = true
    // What somebody has just awaited, and reads in the same turn, is closed after that.
    setImmediate(() => this.#grantWishes())
  }

  #grantWishes(): void {
    const { clock, tooManyKept } = this.#options
    this.#looking = false
    this.#nextLook?.cancel()
    const before = this.#wishes.length
    for (let wish = this.#wishes[0]; wish; wish = this.#wishes[0]) {
      try {
        const thing = this.keepIfThereIsRoom(wish.name) ?? this.#keepInPlaceOfAnother(wish.name)
        if (thing === undefined) break
        wish.resolve(thing)
      } catch (error) {
        wish.reject(error)
      }
      this.#wishes.shift()
    }
    const now = clock.monotonic()
    while (this.#wishes[0] && this.#wishes[0].until <= now) this.#wishes.shift()?.reject(tooManyKept(this.#kept))
    if (this.#wishes.length < before) this.look()
    if (this.#wishes.length > 0) this.#nextLook = clock.after(NEXT_LOOK, () => this.look())
  }

  /** @returns `undefined` when all are in use */
  #keepInPlaceOfAnother(name: string): Thing | undefined {
    const { reopens, busy } = this.#options
    const clientsHaveRoom = this.#hasRoomForClients()
    let oldest: Open<Thing> | undefined
    for (const open of this.#open.values()) {
      if (!open.kept || open.stays || !reopens) continue
      if (oldest && reopens.lastUse(oldest.thing) < reopens.lastUse(open.thing)) continue
      if (open.borrowed > 0 ? clientsHaveRoom : !busy(open.thing)) oldest = open
    }
    if (!oldest) return undefined
    if (oldest.borrowed === 0) this.#close(oldest)
    else this.#leaveToClients(oldest)
    return this.keepIfThereIsRoom(name)
  }

  /** Those who have borrowed it are counted from now on. */
  #leaveToClients(open: Open<Thing>): void {
    this.#makeRoomForClients()
    open.kept = false
    this.#kept--
    for (const account of open.accounts.keys()) this.#count(account)
  }

  // --- the clients' -----------------------------------------------------------------------------

  /** @throws STATEFUL_TOO_MANY_AT_ONCE */
  #makeRoomFor(account: string, bound: 'perUser' | 'perSession'): void {
    const most = this.#options.clients[bound]
    if ((this.#counts.get(account) ?? 0) < most) return
    const idle = this.#oldestIdle(({ accounts }) => accounts.has(account))
    if (!idle) throw new TooManyAtOnceError(most, this.#options.what)
    this.#close(idle)
  }

  /** For one more, in the place of one that is idle if need be. */
  #hasRoomForClients(): boolean {
    return this.#open.size - this.#kept < this.#options.clients.total || this.#oldestIdle(() => true) !== undefined
  }

  /** @throws STATEFUL_OVERLOADED */
  #makeRoomForClients(): void {
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

  #enter(open: Open<Thing>, account: string): void {
    const times = open.accounts.get(account) ?? 0
    open.accounts.set(account, times + 1)
    if (times === 0 && !open.kept) this.#count(account)
  }

  #leave(open: Open<Thing>, account: string): void {
    const times = (open.accounts.get(account) ?? 0) - 1
    if (times > 0) {
      open.accounts.set(account, times)
      return
    }
    if (open.accounts.delete(account) && !open.kept) this.#uncount(account)
  }

  #forgetAccounts(open: Open<Thing>): void {
    for (const account of open.accounts.keys()) if (!open.kept) this.#uncount(account)
    open.accounts.clear()
  }

  #count(account: string): void {
    this.#counts.set(account, (this.#counts.get(account) ?? 0) + 1)
  }

  #uncount(account: string): void {
    const count = (this.#counts.get(account) ?? 0) - 1
    if (count > 0) this.#counts.set(account, count)
    else this.#counts.delete(account)
  }
}

function opened<Thing>(name: string, thing: Thing): Open<Thing> {
  return { name, thing, kept: false, stays: false, borrowed: 0, accounts: new Map(), idleSince: 0, idle: undefined }
}

import { OverloadedError, TooManyAtOnceError } from './errors.ts'
import { networkOf } from './network.ts'

/** Who asks, as far as limits care. */
export interface Client {
  userId?: string | undefined
  /** Public handle of the session. */
  sessionHandle?: string | undefined
  /** Counts for those without a user. */
  address: string
}

export interface ClientBounds {
  /** Of all clients together. */
  total: number
  /** Of one user; of one address for those without a user. */
  perUser: number
  /** Of one session. */
  perSession: number
}

/** The name that a client is counted under: its user, or the network of its address. */
export function accountOf({ userId, address }: Client): string {
  return userId === undefined ? `address:${networkOf(address)}` : `user:${userId}`
}

/** What a client is counted under, and which of the bounds holds for it. */
export function accountsOf(client: Client): [name: string, bound: 'perUser' | 'perSession'][] {
  const { sessionHandle } = client
  const accounts: [string, 'perUser' | 'perSession'][] = [[accountOf(client), 'perUser']]
  if (sessionHandle !== undefined) accounts.push([`session:${sessionHandle}`, 'perSession'])
  return accounts
}

/** Counts what clients have at the same time, so that one who takes all that it can leaves the others theirs. */
export class ClientLimits {
  readonly #what: string
  readonly #bounds: ClientBounds
  readonly #counts = new Map<string, number>()
  #total = 0

  /** @param what the plural, for the message */
  constructor(what: string, bounds: ClientBounds) {
    this.#what = what
    this.#bounds = bounds
  }

  /**
   * Counts one more.
   * @returns gives it back; calling it again does nothing
   * @throws STATEFUL_TOO_MANY_AT_ONCE when this client has its share, STATEFUL_OVERLOADED when all together do
   */
  take(client: Client): () => void {
    const accounts = accountsOf(client)
    for (const [account, bound] of accounts) {
      if ((this.#counts.get(account) ?? 0) >= this.#bounds[bound]) {
        throw new TooManyAtOnceError(this.#bounds[bound], this.#what)
      }
    }
    if (this.#total >= this.#bounds.total) throw new OverloadedError()
    this.#add(accounts, 1)
    let taken = true
    return () => {
      if (taken) this.#add(accounts, -1)
      taken = false
    }
  }

  #add(accounts: ReturnType<typeof accountsOf>, by: number): void {
    this.#total += by
    for (const [account] of accounts) {
      const count = (this.#counts.get(account) ?? 0) + by
      if (count > 0) this.#counts.set(account, count)
      else this.#counts.delete(account)
    }
  }
}

/**
 * Memory that clients make the server hold while they read. What one client is the cause of may be a quarter of it;
 * one thing at a time is always let in, whatever its size.
 */
export class ByteBudget {
  readonly #bytes: number
  readonly #held = new Map<string, number>()
  #total = 0

  constructor(bytes: number) {
    this.#bytes = bytes
  }

  get held(): number {
    return this.#total
  }

  /**
   * @returns gives it back
   * @throws STATEFUL_TOO_MANY_AT_ONCE, STATEFUL_OVERLOADED
   */
  take(client: Client, bytes: number): () => void {
    const [[account] = ['']] = accountsOf(client)
    const own = this.#held.get(account) ?? 0
    if (own > 0 && own + bytes > this.#bytes / 4) {
      throw new TooManyAtOnceError(`${Math.floor(this.#bytes / 4)} bytes of`, 'large answers')
    }
    if (this.#total > 0 && this.#total + bytes > this.#bytes) throw new OverloadedError()
    this.#add(account, bytes)
    let taken = true
    return () => {
      if (taken) this.#add(account, -bytes)
      taken = false
    }
  }

  #add(account: string, bytes: number): void {
    this.#total += bytes
    const held = (this.#held.get(account) ?? 0) + bytes
    if (held > 0) this.#held.set(account, held)
    else this.#held.delete(account)
  }
}

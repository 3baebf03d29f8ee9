import { accountsOf, type Client } from '../../support/client-limits.ts'
import { OverloadedError, TooManyConnectionsError } from '../../support/errors.ts'
import { networkOf } from '../../support/network.ts'
import type { SyncSettings } from '../options.ts'
import { TokenBucket } from './token-bucket.ts'

/**
 * Decides who may connect: so many at all, by user, by session and by address, and so many a second, because after a
 * restart everybody comes at once and each handshake and each catching up takes the event loop from the others.
 */
export class Admission {
  readonly #settings: SyncSettings
  /** By user (or network, for those without one) and by session, see {@link accountsOf}. */
  readonly #byAccount = new Map<string, number>()
  readonly #byAddress = new Map<string, number>()
  readonly #userRates = new Map<string, TokenBucket>()
  readonly #handshakes: TokenBucket
  #count = 0

  constructor(settings: SyncSettings) {
    this.#settings = settings
    const { connectionRate, clock } = settings
    this.#handshakes = new TokenBucket(connectionRate, connectionRate, clock.monotonic())
  }

  /** @throws STATEFUL_TOO_MANY_CONNECTIONS (come back when others have left), STATEFUL_OVERLOADED (in a moment) */
  check(client: Client): void {
    const { maxConnections, maxConnectionsPerUser, maxConnectionsPerSession, clock } = this.#settings
    const { maxConnectionsPerAddress, maxAnonymousPerAddress } = this.#settings
    const most = {
      perUser: client.userId === undefined ? maxAnonymousPerAddress : maxConnectionsPerUser,
      perSession: maxConnectionsPerSession,
    }
    if (
      this.#count >= maxConnections ||
      (this.#byAddress.get(networkOf(client.address)) ?? 0) >= maxConnectionsPerAddress ||
      accountsOf(client).some(([account, bound]) => (this.#byAccount.get(account) ?? 0) >= most[bound])
    ) {
      throw new TooManyConnectionsError()
    }
    if (!this.#handshakes.tryTake(clock.monotonic())) throw new OverloadedError()
  }

  /** Whether there is time for an upgrade whose only purpose is to say why it is refused. */
  mayExplain(): boolean {
    return this.#handshakes.tryTake(this.#settings.clock.monotonic())
  }

  enter(client: Client): void {
    this.#count++
    add(this.#byAddress, networkOf(client.address), 1)
    for (const [account] of accountsOf(client)) add(this.#byAccount, account, 1)
  }

  leave(client: Client): void {
    this.#count--
    add(this.#byAddress, networkOf(client.address), -1)
    for (const [account] of accountsOf(client)) add(this.#byAccount, account, -1)
    const { userId } = client
    if (userId !== undefined && !this.#byAccount.has(`user:${userId}`)) this.#userRates.delete(userId)
  }

  /** Shared by all connections of a user, so that opening more of them does not help. */
  userRate(userId: string): TokenBucket {
    const known = this.#userRates.get(userId)
    if (known) return known
    const { userMessageRate, clock } = this.#settings
    const bucket = new TokenBucket(userMessageRate, userMessageRate * 2, clock.monotonic())
    this.#userRates.set(userId, bucket)
    return bucket
  }
}

function add(counts: Map<string, number>, name: string, by: number): void {
  const count = (counts.get(name) ?? 0) + by
  if (count > 0) counts.set(name, count)
  else counts.delete(name)
}

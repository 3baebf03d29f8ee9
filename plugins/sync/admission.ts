import { OverloadedError, TooManyConnectionsError } from '../support/errors.ts'
import { networkOf } from '../support/network.ts'
import type { SyncSettings } from './settings.ts'
import { TokenBucket } from './token-bucket.ts'

/** Whose connection it is, as far as limits care. */
export interface Applicant {
  userId?: string | undefined
  address: string
}

/**
 * Decides who may connect: so many at all, by user and by address, and so many a second, because after a restart
 * everybody comes at once and each handshake and each catching up takes the event loop from the others.
 */
export class Admission {
  readonly #settings: SyncSettings
  readonly #byUser = new Map<string, number>()
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
  check({ userId, address }: Applicant): void {
    const { maxConnections, maxConnectionsPerUser, maxConnectionsPerAddress, clock } = this.#settings
    if (
      this.#count >= maxConnections ||
      (this.#byAddress.get(networkOf(address)) ?? 0) >= maxConnectionsPerAddress ||
      (userId !== undefined && (this.#byUser.get(userId) ?? 0) >= maxConnectionsPerUser)
    ) {
      throw new TooManyConnectionsError()
    }
    if (!this.#handshakes.tryTake(clock.monotonic())) throw new OverloadedError()
  }

  enter({ userId, address }: Applicant): void {
    this.#count++
    add(this.#byAddress, networkOf(address), 1)
    if (userId !== undefined) add(this.#byUser, userId, 1)
  }

  leave({ userId, address }: Applicant): void {
    this.#count--
    add(this.#byAddress, networkOf(address), -1)
    if (userId === undefined) return
    add(this.#byUser, userId, -1)
    if (!this.#byUser.has(userId)) this.#userRates.delete(userId)
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

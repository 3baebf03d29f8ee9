import type { Timer } from '../../support/clock.ts'
import type { Subscription } from '../channel/topic.ts'
import type { SyncSettings } from '../options.ts'
import type { SyncCounters } from '../stats.ts'
import type { Frame } from '../transports/frame.ts'
import type { Connection } from './connection.ts'

/** Sessions that are looked at again at the same time. */
const VERIFY_AT_ONCE = 16
/** How soon those whose store did not answer are looked at again, in milliseconds. */
const RETRY_AFTER = 1_000

export interface WatchdogOptions {
  settings: SyncSettings
  counters: SyncCounters
  /** Shared by all connections. */
  heartbeat: Frame
  onError(error: unknown, what: string): void
}

/**
 * Goes round all connections: who is silent, who is stuck, whose session is no longer what it was.
 *
 *     idle ── some are due, or news was lost (`verifyAll`) ──▶ verifying ── all looked at ──▶ idle
 *      ▲                                                          └── `again`: with all of them ──▶ verifying
 *      └── `retry`: a second after a store did not answer for one that is `unverified`
 *
 * One of our connections is `unverified` from the lost news until its store has answered, and is due until then.
 */
export class Watchdog {
  readonly #options: WatchdogOptions
  readonly #connections: ReadonlyMap<string, Connection>
  #timer: Timer | undefined
  #lastRound = 0
  #rounds = 0
  #verifying = false
  /** News was lost while sessions were being looked at: what was found may be out of date. */
  #again = false
  #retry: Timer | undefined

  constructor(options: WatchdogOptions, connections: ReadonlyMap<string, Connection>) {
    this.#options = options
    this.#connections = connections
  }

  start(): void {
    const { clock, heartbeatInterval } = this.#options.settings
    this.#lastRound = clock.monotonic()
    this.#timer = clock.every(Math.max(heartbeatInterval / 2, 1), () => this.#round())
  }

  stop(): void {
    this.#timer?.cancel()
    this.#retry?.cancel()
  }

  #round(): void {
    const { clock, heartbeatInterval, slowDeadline } = this.#options.settings
    const now = clock.monotonic()
    // After a suspension of this process every peer looks silent, because none was read.
    const late = now - this.#lastRound > heartbeatInterval
    this.#lastRound = now
    const beat = ++this.#rounds % 2 === 0
    for (const connection of this.#connections.values()) {
      if (!late && now - connection.lastSeenMonotonic >= 2 * heartbeatInterval) {
        this.#drop(connection, 4408, 'silent')
      } else if ([...connection.subscriptions.values()].some((one) => isStuck(one, now - slowDeadline))) {
        this.#drop(connection, 1013, 'too slow')
      } else {
        connection.drained()
        if (beat && !connection.isFull) {
          connection.transport.ping()
          connection.send(this.#options.heartbeat)
        }
      }
    }
    this.#verifyDue()
  }

  #drop(connection: Connection, code: 1013 | 4408, reason: string): void {
    this.#options.counters.count('dropped')
    connection.end(code, reason)
  }

  /** Looks at all sessions at once, because news of revoked ones may have been lost. */
  verifyAll(): void {
    if (this.#verifying) {
      this.#again = true
      return
    }
    for (const connection of this.#connections.values()) connection.unverified = true
    this.#verifyDue()
  }

  #verifyDue(): void {
    if (this.#verifying) return
    const { clock, verifyInterval } = this.#options.settings
    const before = clock.monotonic() - verifyInterval
    const due = [...this.#connections.values()].filter(
      ({ identity, verifiedAt, unverified }) => identity.verify && (unverified || verifiedAt <= before),
    )
    if (due.length === 0) return
    this.#verifying = true
    const next = async () => {
      for (let connection = due.pop(); connection; connection = due.pop()) await this.#verify(connection)
    }
    Promise.all(Array.from({ length: VERIFY_AT_ONCE }, next)).finally(() => {
      this.#verifying = false
      if (!this.#again) return
      this.#again = false
      this.verifyAll()
    })
  }

  /** Never rejects. */
  async #verify(connection: Connection): Promise<void> {
    const { clock, verifyDeadline } = this.#options.settings
    const asked = clock.monotonic()
    try {
      const verdict = await connection.identity.verify?.()
      connection.verifiedAt = asked
      connection.unverified = false
      if (verdict === 'ended') connection.endSession('the session ended')
      if (verdict === 'changed') connection.end(4403, 'what the session may do has changed')
    } catch (error) {
      if (connection.unverified) {
        this.#retry?.cancel()
        this.#retry = clock.after(RETRY_AFTER, () => this.#verifyDue())
      }
      // Another round tries again. Who cannot be verified for long may have been revoked long ago.
      if (asked - connection.verifiedAt < verifyDeadline) return
      this.#options.onError(error, 'sessions could not be verified for too long')
      connection.end(1013, 'the session cannot be verified')
    }
  }
}

function isStuck({ waitingSince }: Subscription, since: number): boolean {
  return waitingSince !== undefined && waitingSince <= since
}

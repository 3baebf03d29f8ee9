import type { EventEmitter } from 'node:events'
import type { Commit, Position } from '../../openapi/schemas/state.ts'
import type { RequestSession } from '../../plugins/session/request-session.ts'
import type { Space } from '../../plugins/state/index.ts'
import type { Clock } from '../../plugins/support/clock.ts'
import { OverloadedError, SessionRevokedError } from '../../plugins/support/errors.ts'

/** Requests that may wait at the same time; each holds a socket and a listener. */
const MOST_WAITING = 1_000

/** Requests that wait for the next commit. */
export class LongPolls {
  readonly #clock: Clock
  /** What ends the waiting, with the session of the request. */
  readonly #ends = new Map<() => void, RequestSession | undefined>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /**
   * @param wait milliseconds to wait for a commit when there is none
   * @param socket whose `close` ends the waiting
   * @param session looked at again after the waiting: what was committed meanwhile is not for one that has ended, and
   * one that has got another role asks again, by which it is told what it may know now
   * @returns `undefined` when the position is not in the retained history
   * @throws STATEFUL_OVERLOADED when too many wait already, STATEFUL_SESSION_REVOKED
   */
  async commitsAfter(
    space: Space,
    position: Position,
    wait: number,
    socket: EventEmitter,
    session?: RequestSession,
  ): Promise<Commit[] | undefined> {
    const commits = await space.history(position)
    if (commits?.length !== 0 || wait === 0) return commits
    // One that was made while history was read has told nobody here.
    if (space.revision <= position.revision) {
      await this.#nextCommit(space, wait, socket, session)
      const verdict = await session?.verify()
      if (verdict === 'ended') throw new SessionRevokedError()
      if (verdict === 'changed') return []
    }
    return space.history(position)
  }

  /** Answers all that wait, who would otherwise hold up the close for as long as they wait. */
  end(): void {
    for (const end of [...this.#ends.keys()]) end()
  }

  /** Ends the waiting of a session's requests. */
  endOf(handle: string): void {
    for (const [end, session] of [...this.#ends]) if (session?.handle === handle) end()
  }

  /** News of ended sessions may have been lost: looks at all of them now, at each once. Never rejects. */
  async verifyAll(): Promise<void> {
    const sessions = new Map(
      [...this.#ends.values()].flatMap((session) => (session ? [[session.handle, session]] : [])),
    )
    await Promise.all(
      [...sessions.values()].map(async (session) => {
        // Whom the store cannot tell about now will be looked at when the waiting is over.
        const verdict = await session.verify().catch(() => 'same')
        if (verdict !== 'same') this.endOf(session.handle)
      }),
    )
  }

  async #nextCommit(space: Space, wait: number, socket: EventEmitter, session?: RequestSession): Promise<void> {
    if (this.#ends.size >= MOST_WAITING) throw new OverloadedError()
    await new Promise<void>((resolve) => {
      const end = () => {
        this.#ends.delete(end)
        socket.off('close', end)
        timer.cancel()
        for (const stop of stops) stop()
        resolve()
      }
      const timer = this.#clock.after(wait, end)
      const stops = [space.onCommit(end), space.onReset(end)]
      socket.once('close', end)
      this.#ends.set(end, session)
    })
  }
}

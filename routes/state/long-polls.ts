import type { EventEmitter } from 'node:events'
import type { Commit, Position } from '../../openapi/schemas/state.ts'
import type { RequestSession } from '../../plugins/session/request/lasting.ts'
import type { Space } from '../../plugins/state/index.ts'
import { type Client, type ClientBounds, ClientLimits } from '../../plugins/support/client-limits.ts'
import type { Clock } from '../../plugins/support/clock.ts'
import { SessionRevokedError } from '../../plugins/support/errors.ts'

/** Requests that wait for the next commit; each holds a socket and a listener. */
export class LongPolls {
  readonly #clock: Clock
  readonly #limits: ClientLimits
  /** What ends the waiting, with the session of the request. */
  readonly #ends = new Map<() => void, RequestSession | undefined>()

  constructor(clock: Clock, bounds: ClientBounds) {
    this.#clock = clock
    this.#limits = new ClientLimits('requests that wait', bounds)
  }

  /**
   * @param wait milliseconds to wait for a commit when there is none
   * @param socket whose `close` ends the waiting
   * @param session looked at again after the waiting: what was committed meanwhile is not for one that has ended, and
   * one that has got another role asks again, by which it is told what it may know now
   * @returns `undefined` when the position is not in the retained history
   * @throws STATEFUL_TOO_MANY_AT_ONCE when this client waits often already, STATEFUL_OVERLOADED when too many do,
   * STATEFUL_SESSION_REVOKED
   */
  async commitsAfter(
    space: Space,
    position: Position,
    wait: number,
    socket: EventEmitter,
    client: Client,
    session?: RequestSession,
  ): Promise<Commit[] | undefined> {
    const commits = await space.history(position)
    if (commits?.length !== 0 || wait === 0) return commits
    // One that was made while history was read has been told to no poll here.
    if (space.revision <= position.revision) {
      await this.#nextCommit(space, wait, socket, client, session)
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

  async #nextCommit(
    space: Space,
    wait: number,
    socket: EventEmitter,
    client: Client,
    session: RequestSession | undefined,
  ): Promise<void> {
    const leave = this.#limits.take(client)
    await new Promise<void>((resolve) => {
      const end = () => {
        leave()
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

import type { EventEmitter } from 'node:events'
import type { Commit, Position } from '../../openapi/schemas/state.ts'
import type { Space } from '../../plugins/state/index.ts'
import type { Clock } from '../../plugins/support/clock.ts'
import { OverloadedError } from '../../plugins/support/errors.ts'

/** Requests that may wait at the same time; each holds a socket and a listener. */
const MOST_WAITING = 1_000

/** Requests that wait for the next commit. */
export class LongPolls {
  readonly #clock: Clock
  readonly #ends = new Set<() => void>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /**
   * @param wait milliseconds to wait for a commit when there is none
   * @param socket whose `close` ends the waiting
   * @returns `undefined` when the position is not in the retained history
   * @throws STATEFUL_OVERLOADED when too many wait already
   */
  async commitsAfter(
    space: Space,
    position: Position,
    wait: number,
    socket: EventEmitter,
  ): Promise<Commit[] | undefined> {
    const commits = await space.history(position)
    if (commits?.length !== 0 || wait === 0) return commits
    // One that was made while history was read has told nobody here.
    if (space.revision <= position.revision) await this.#nextCommit(space, wait, socket)
    return space.history(position)
  }

  /** Answers all that wait, who would otherwise hold up the close for as long as they wait. */
  end(): void {
    for (const end of [...this.#ends]) end()
  }

  async #nextCommit(space: Space, wait: number, socket: EventEmitter): Promise<void> {
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
      this.#ends.add(end)
    })
  }
}

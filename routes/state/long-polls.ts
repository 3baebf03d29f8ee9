import type { Commit, StateChanges } from '../../openapi/schemas/state.ts'
import type { Space } from '../../plugins/state/index.ts'
import { OverloadedError } from '../../plugins/support/errors.ts'

/** Requests that may wait at the same time; each holds a socket and a listener. */
const MOST_WAITING = 1_000

interface ChangesQuery {
  since: string
  wait?: number
  limit?: number
}

/** Answers `GET /state/changes`. */
export class LongPolls {
  #waiting = 0

  async since(
    space: Space,
    { since, wait = 0, limit = 1_000 }: ChangesQuery,
    signal: AbortSignal,
  ): Promise<StateChanges> {
    const split = since.lastIndexOf(':')
    const revision = Number(since.slice(split + 1))
    const position = { epoch: split < 0 ? space.epoch : since.slice(0, split), revision }
    let commits = await space.history(position)
    if (commits?.length === 0 && wait > 0) {
      await this.#commitAfter(revision, space, wait, signal)
      commits = await space.history(position)
    }
    return answer(space, position, commits, limit)
  }

  async #commitAfter(revision: number, space: Space, wait: number, signal: AbortSignal): Promise<void> {
    // One that was made while history was read has told nobody here.
    if (space.revision > revision) return
    if (this.#waiting >= MOST_WAITING) throw new OverloadedError()
    this.#waiting++
    const stops: (() => void)[] = []
    try {
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, wait)
        const end = () => resolve()
        signal.addEventListener('abort', end)
        stops.push(
          () => clearTimeout(timer),
          () => signal.removeEventListener('abort', end),
          space.onCommit(end),
          space.onReset(end),
        )
        if (signal.aborted) resolve()
      })
    } finally {
      for (const stop of stops) stop()
      this.#waiting--
    }
  }
}

function answer(
  space: Space,
  position: { epoch: string; revision: number },
  commits: Commit[] | undefined,
  limit: number,
): StateChanges {
  if (!commits) return { epoch: space.epoch, revision: space.revision, commits: [], reset: true }
  const page = commits.slice(0, limit)
  // Where the caller stands after applying the page, which it passes as the next `since`.
  const last = page.at(-1)
  const end =
    page.length < commits.length && last ? last : { epoch: space.epoch, revision: last?.revision ?? position.revision }
  return { epoch: end.epoch, revision: end.revision, commits: page, reset: false }
}

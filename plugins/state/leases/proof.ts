import type { Position } from '../../../openapi/schemas/state.ts'

/** Says which lease somebody holds, and since which commit. May be handed on, as JSON too. */
export interface LeaseProof {
  readonly name: string
  /** The position of the commit by which it was taken: higher than that of every holder before. */
  readonly token: Position
}

/** Where a lease stands in its space: with whom, since when. */
export const leaseKey = (name: string): string => `lease:${name}`

/** Where its holder says that it still is there. */
export const beatKey = (name: string): string => `lease-beat:${name}`

/**
 * Whether a token is newer than another one of the same lease, or the same: for whatever it protects that is not in this
 * state. The epoch counts first, for a lost end of the log lets revisions begin again, in a higher epoch.
 *
 * @example
 * isAtLeast({ epoch: '7:c1', revision: 12 }, { epoch: '6:ab', revision: 40 }) // true
 */
export function isAtLeast(token: Position, other: Position): boolean {
  const [counter, before] = [Number.parseInt(token.epoch, 10), Number.parseInt(other.epoch, 10)]
  return counter > before || (counter === before && token.revision >= other.revision)
}

import type { Op } from '../../openapi/schemas/state.ts'
import type { EmptySpace, Entry, Space } from '../../plugins/state/index.ts'
import { StateConflictError, StatePreconditionError } from '../../plugins/support/errors.ts'
import { namesTag, namesTagStrongly } from '../../plugins/support/http.ts'

/**
 * What a key holds as a strong entity tag: the epoch in which it was set, and the revision. A restart keeps it; a
 * history that was lost does not.
 */
export const entityTag = (space: Space | EmptySpace, revision: number): string =>
  `"${space.epochOf(revision)}:${revision}"`

export interface ConditionHeaders {
  'if-match'?: string
  'if-none-match'?: string
}

/**
 * Does it under the conditions of the request. They are checked at the moment of the commit: what they look at here
 * is guarded there, and looked at again when it has changed in between.
 *
 * @param client who counts for what it fills
 * @returns what the key holds afterwards
 * @throws STATEFUL_STATE_PRECONDITION_FAILED
 */
export async function conditional(
  space: Space,
  op: Op,
  headers: ConditionHeaders,
  client: string,
): Promise<Entry | undefined> {
  const { 'if-match': match, 'if-none-match': noneMatch } = headers
  if (match === undefined && noneMatch === undefined) return (await space.apply(op, { forClient: client })).entry
  for (;;) {
    // A condition that fails must fail on what is there, not on a replica that is behind.
    await space.freshen()
    const revision = space.entry(op.key)?.revision ?? 0
    if (!holds(space, match, noneMatch, revision)) throw new StatePreconditionError(op.key, revision)
    try {
      return (
        await space.apply(op, {
          forClient: client,
          guards: [
            revision === 0 ? { key: op.key, revision } : { key: op.key, revision, epoch: space.epochOf(revision) },
          ],
        })
      ).entry
    } catch (error) {
      if (!(error instanceof StateConflictError)) throw error
    }
  }
}

function holds(space: Space, match: string | undefined, noneMatch: string | undefined, revision: number): boolean {
  const there = revision > 0
  const tag = entityTag(space, revision)
  if (match !== undefined && !(there && namesTagStrongly(match, tag))) return false
  return noneMatch === undefined || !there || !namesTag(noneMatch, tag)
}

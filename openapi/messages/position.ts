import { type Static, Type } from '@sinclair/typebox'
import { annotated } from '../schemas/responses.ts'
import { Epoch, Revision, StateKey } from '../schemas/state.ts'

export { SpaceName } from '../schemas/state.ts'

/**
 * A place in the history of one space. Revisions of different epochs cannot be compared: an epoch ends when
 * history may have been lost, and then only a full sync helps.
 */
export const Position = Type.Object(
  { epoch: Epoch, revision: Revision },
  { additionalProperties: false, description: 'A place in the history of a space.' },
)
export type Position = Static<typeof Position>

/** Which part of a space a subscription follows: all of it, one key, or every key with a prefix. */
export const topic = {
  key: Type.Optional(annotated(StateKey, { description: 'Only this key. Neither key nor prefix: the whole space.' })),
  prefix: Type.Optional(annotated(StateKey, { description: 'Only keys that begin with this.' })),
}

/** A closed message object with its literal `type`. */
export const closed = { additionalProperties: false } as const

/** What the server sends over `GET /sync` and `GET /sync/events`. One JSON text frame a message. */
import { type Static, Type } from '@sinclair/typebox'
import { Integer, Moment } from '../schemas/numbers.ts'
import { annotated } from '../schemas/responses.ts'
import { Epoch, JsonValue, Op, Revision } from '../schemas/state.ts'
import { closed, Position, SpaceName, topic } from './position.ts'

export const Hello = Type.Object(
  {
    type: Type.Literal('hello'),
    protocol: Integer({ description: 'The version that is spoken from here on.' }),
    node: Type.String({ description: 'The name of this connection in the node registry.' }),
    clientId: Type.String({ description: 'How the writes of this client are marked in the changes of others.' }),
    heartbeat: Integer({ description: 'Milliseconds between heartbeats; two of them in silence end it.' }),
    assigned: Type.Optional(
      Type.String({
        description:
          'A client id for this page alone, instead of the one that it came with: another page lives under that. Its writes are numbered from 1 under this one.',
      }),
    ),
    user: Type.Optional(
      Type.String({
        description:
          'Stands for the user that this connection is of: another user, another text. A client forgets what it has kept of another one. Absent: nobody.',
      }),
    ),
    limits: Type.Object(
      {
        payload: Integer({ description: 'Bytes of the largest message; a larger one ends the connection with 1009.' }),
        queue: Integer({ description: 'Messages that may wait for their answers; more are refused.' }),
        rate: Integer({ description: 'Messages a second that are read, twice as many at once; the rest waits.' }),
        subscriptions: Integer({ description: 'Subscriptions of this connection.' }),
      },
      { ...closed, description: 'What a client keeps to, so that nothing of it is refused.' },
    ),
  },
  { $id: 'Hello', ...closed, description: 'Answer to a hello.' },
)
export type Hello = Static<typeof Hello>

export const FullSync = Type.Object(
  {
    type: Type.Literal('fullSync'),
    space: SpaceName,
    ...topic,
    epoch: Epoch,
    revision: Revision,
    part: Type.Optional(Integer({ description: 'A large state comes in parts, in order; the first is 0.' })),
    more: Type.Optional(
      Type.Literal(true, { description: 'Further parts follow: the position is reached with the last one.' }),
    ),
    state: Type.Record(Type.String(), JsonValue, { description: 'Every key with its value at that revision.' }),
  },
  {
    $id: 'FullSync',
    ...closed,
    description: 'Replaces what the client had of this topic; its position is then (epoch, revision).',
  },
)
export type FullSync = Static<typeof FullSync>

export const Change = Type.Object(
  {
    prev: Integer({
      description:
        'The revision before, within this topic. Apply the change only if it is your position; drop it if `revision` is not above your position; else there is a gap: send a syncRequest.',
    }),
    revision: Integer({ description: 'Your position once it is applied.' }),
    ops: Type.Array(Op, {
      description:
        'Applied together, in order. Empty: the position moves and nothing else. A conflated change spans several revisions and holds the latest value of each key that they touched.',
    }),
    clientId: Type.Optional(Type.String({ description: 'Who wrote it (see hello). Absent: the server.' })),
    seq: Type.Optional(Integer({ description: "The writer's own number of it." })),
  },
  { $id: 'Change', ...closed, description: 'What takes a replica from one revision to another.' },
)
export type Change = Static<typeof Change>

export const StateChange = Type.Object(
  {
    type: Type.Literal('stateChange'),
    space: SpaceName,
    ...topic,
    epoch: Epoch,
    since: Type.Optional(
      annotated(Position, {
        description:
          'Only in answers to `since`: the position that this continues from, possibly of an earlier epoch whose history was kept.',
      }),
    ),
    changes: Type.Array(Type.Ref('Change'), { description: 'In order.' }),
  },
  {
    $id: 'StateChange',
    ...closed,
    description:
      "All changes of a moment, in order. A client that follows the whole space does not get its own writes back: their acks stand at their place in the order instead. (Exceptions: after a resume, and when a slow client is caught up, the range holds everybody's.)",
  },
)
export type StateChange = Omit<Static<typeof StateChange>, 'changes'> & { changes: Change[] }

export const Ack = Type.Object(
  {
    type: Type.Literal('ack'),
    seq: Type.Optional(Integer({ description: 'Absent for a stateChange without a number.' })),
    clientId: Type.Optional(Type.String({ description: 'As in the write, when that named one.' })),
    space: SpaceName,
    epoch: Epoch,
    prev: Integer({ description: 'The revision before the write.' }),
    revision: Integer({ description: 'The revision that the write became. It is durable.' }),
    ops: Type.Optional(
      Type.Array(Op, { description: 'What was committed, when that differs from what was sent under this `seq`.' }),
    ),
  },
  {
    $id: 'Ack',
    ...closed,
    description:
      'The write is committed. For a client that follows the whole space it stands where its stateChange would: if `prev` is your position, apply `ops` (or what you sent) and move to `revision`; if `revision` is not above your position, the write is in your state already.',
  },
)
export type Ack = Static<typeof Ack>

export const Reject = Type.Object(
  {
    type: Type.Literal('reject'),
    seq: Type.Optional(Integer({ description: 'That of the write, whatever else was wrong with it.' })),
    clientId: Type.Optional(Type.String({ description: 'As in the write, when that named one.' })),
    code: Type.String({ description: 'Stable, machine-readable. Listed in docs/errors.md.' }),
    message: Type.String({ description: 'What happened, and what to do. For people.' }),
    action: Type.Optional(Type.String({ description: 'What the client may not do, when it was refused for that.' })),
    outcome: Type.Union([Type.Literal('refused'), Type.Literal('unknown')], {
      description:
        'refused: nothing was written. unknown: it may have been; sending it again with the same client id and `seq` is safe.',
    }),
    retry: Type.Optional(
      Type.Literal(true, {
        description: 'Nothing is wrong with the write: too much was waiting. Send it again, in order, a little later.',
      }),
    ),
  },
  { $id: 'Reject', ...closed, description: 'The write was not acknowledged.' },
)
export type Reject = Static<typeof Reject>

export const ErrorMessage = Type.Object(
  {
    type: Type.Literal('error'),
    code: Type.String({ description: 'Stable, machine-readable. Listed in docs/errors.md.' }),
    message: Type.String({ description: 'What happened, and what to do. For people.' }),
    action: Type.Optional(Type.String({ description: 'What the client may not do, when it was refused for that.' })),
    request: Type.Optional(
      Type.String({
        description:
          'The `type` of the message that was refused, if it had one; `connect` when the connection itself was, which the close code follows.',
      }),
    ),
    space: Type.Optional(
      annotated(SpaceName, { description: 'What the refused message was about: its space, key and prefix.' }),
    ),
    ...topic,
    retry: Type.Optional(
      Type.Literal(true, { description: 'It failed for now, not for good: the same message may succeed later.' }),
    ),
  },
  { $id: 'ErrorMessage', ...closed, description: 'A message was not understood or not allowed; nothing was done.' },
)
export type ErrorMessage = Static<typeof ErrorMessage>

export const Heartbeat = Type.Object(
  { type: Type.Literal('heartbeat') },
  { $id: 'Heartbeat', ...closed, description: 'Says that the server lives: each interval, and as an answer.' },
)
export type Heartbeat = Static<typeof Heartbeat>

export const Revoked = Type.Object(
  {
    type: Type.Literal('revoked'),
    reason: Type.String({ description: 'For people and logs.' }),
  },
  {
    $id: 'Revoked',
    ...closed,
    description: 'The session ended. The client must forget what it holds; the close code 4401 follows.',
  },
)
export type Revoked = Static<typeof Revoked>

export const PresenceMember = Type.Object(
  {
    node: Type.String({ description: 'The connection. A client with several connections is there several times.' }),
    clientId: Type.String({ description: 'The same as in the changes that it writes.' }),
    userId: Type.Optional(Type.String({ description: 'Whose it is. Absent: nobody is logged in.' })),
    data: Type.Optional(JsonValue),
    connectedAt: Moment('Milliseconds since the Unix epoch.'),
  },
  { $id: 'PresenceMember', ...closed, description: 'Somebody who follows a space.' },
)
export type PresenceMember = Static<typeof PresenceMember>

export const PresenceMessage = Type.Object(
  {
    type: Type.Literal('presence'),
    space: SpaceName,
    members: Type.Optional(
      Type.Array(Type.Ref('PresenceMember'), { description: 'Everybody: forget who was there before.' }),
    ),
    joined: Type.Optional(
      Type.Array(Type.Ref('PresenceMember'), {
        description: 'Who came, or has new data; one that is known is replaced.',
      }),
    ),
    left: Type.Optional(Type.Array(Type.String(), { description: 'Nodes that are gone.' })),
  },
  {
    $id: 'Presence',
    ...closed,
    description: 'Who follows a space, on all instances: first `members`, then `joined` and `left`.',
  },
)
export interface PresenceMessage {
  type: 'presence'
  space: string
  members?: PresenceMember[]
  joined?: PresenceMember[]
  left?: string[]
}

export const Closing = Type.Object(
  {
    type: Type.Literal('closing'),
    retryAfter: Integer({
      description:
        'Milliseconds to wait before reconnecting: each client has its own, so that they do not come at once.',
    }),
  },
  { $id: 'Closing', ...closed, description: 'The server is about to close the connection.' },
)
export type Closing = Static<typeof Closing>

/** Every message that a server may send, by its `type`. */
export const serverMessages = {
  hello: Hello,
  fullSync: FullSync,
  stateChange: StateChange,
  ack: Ack,
  reject: Reject,
  error: ErrorMessage,
  heartbeat: Heartbeat,
  revoked: Revoked,
  presence: PresenceMessage,
  closing: Closing,
}
export type ServerMessage =
  | Hello
  | FullSync
  | StateChange
  | Ack
  | Reject
  | ErrorMessage
  | Heartbeat
  | Revoked
  | PresenceMessage
  | Closing

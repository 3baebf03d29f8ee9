/** What a client may send over `GET /sync`. One JSON text frame a message. */
import { type Static, Type } from '@sinclair/typebox'
import { Integer } from '../schemas/numbers.ts'
import { annotated } from '../schemas/responses.ts'
import { JsonValue, Op } from '../schemas/state.ts'
import { closed, Position, SpaceName, topic } from './position.ts'

const Ops = Type.Array(Op, {
  minItems: 1,
  maxItems: 128,
  description: 'Applied together, as one revision, or not at all.',
})
const Seq = Integer({ minimum: 1, description: "The client's own number of the write, rising by one." })

export const HelloRequest = Type.Object(
  {
    type: Type.Literal('hello'),
    protocols: Type.Array(Integer({ minimum: 1, maximum: 1_000 }), {
      minItems: 1,
      maxItems: 16,
      description: 'Protocol versions that the client speaks. The server answers with the highest that it speaks too.',
    }),
    clientId: Type.Optional(
      Type.String({
        minLength: 8,
        maxLength: 128,
        description:
          'Names the client across reconnects, so that a write sent twice is applied once. Make it random and keep it.',
      }),
    ),
    page: Type.Optional(
      Type.String({
        minLength: 8,
        maxLength: 64,
        description:
          'Names this run of the client, at random. While a connection of another page lives under the same client id (a copy of a tab), the answer assigns an id of its own. Without it, connections under one client id count as one client.',
      }),
    ),
  },
  { $id: 'HelloRequest', ...closed, description: 'Optional first message: agrees on a version and a client id.' },
)
export type HelloRequest = Static<typeof HelloRequest>

export const Subscribe = Type.Object(
  {
    type: Type.Literal('subscribe'),
    space: SpaceName,
    ...topic,
    since: Type.Optional(Position),
    mode: Type.Optional(
      Type.Union([Type.Literal('latest'), Type.Literal('log')], {
        description:
          'latest (default): a slow connection skips to the latest values. log: it gets every revision; when it is too slow, it is closed with 1013 and the position to come back with (`<epoch>.<revision>`) as the reason.',
      }),
    ),
  },
  {
    $id: 'Subscribe',
    ...closed,
    description:
      'Follows a space, a key or a prefix. With `since` the server continues from there if it can; otherwise, and without it, a fullSync comes first.',
  },
)
export type Subscribe = Static<typeof Subscribe>

export const Unsubscribe = Type.Object(
  { type: Type.Literal('unsubscribe'), space: SpaceName, ...topic },
  { $id: 'Unsubscribe', ...closed, description: 'Ends a subscription; nothing of it is sent afterwards.' },
)
export type Unsubscribe = Static<typeof Unsubscribe>

export const SyncRequest = Type.Object(
  { type: Type.Literal('syncRequest'), space: SpaceName, ...topic, since: Type.Optional(Position) },
  {
    $id: 'SyncRequest',
    ...closed,
    description:
      'Asks to be brought up to date after a gap. Answered by a stateChange with the same `since`, or by a fullSync.',
  },
)
export type SyncRequest = Static<typeof SyncRequest>

export const Write = Type.Object(
  {
    type: Type.Literal('write'),
    space: Type.Optional(SpaceName),
    seq: Seq,
    ops: Ops,
    clientId: Type.Optional(
      Type.String({
        minLength: 8,
        maxLength: 128,
        description:
          'Only for a write that an earlier run of this client numbered under another id, if it is unknown whether it arrived.',
      }),
    ),
  },
  {
    $id: 'Write',
    ...closed,
    description:
      'Commits the operations. Answered by an ack or a reject with the same `seq`. Sent again with the same client id and `seq`, it is not applied again. Default space: the one of the first subscription.',
  },
)
export type Write = Static<typeof Write>

export const StateChangeRequest = Type.Object(
  { type: Type.Literal('stateChange'), space: Type.Optional(SpaceName), ops: Ops },
  {
    $id: 'StateChangeRequest',
    ...closed,
    description: 'A write without a number, for the simplest clients: its ack holds the operations.',
  },
)
export type StateChangeRequest = Static<typeof StateChangeRequest>

export const PresenceRequest = Type.Object(
  {
    type: Type.Literal('presence'),
    space: SpaceName,
    data: Type.Optional(
      annotated(JsonValue, {
        description: 'What others see of this node, such as a name or a cursor. At most 1 KiB as JSON by default.',
      }),
    ),
    leave: Type.Optional(
      Type.Literal(true, { description: 'Is not to be seen there any more, and wants to hear nothing of it.' }),
    ),
  },
  {
    $id: 'PresenceRequest',
    ...closed,
    description: 'Asks who follows the space, from now on, and replaces the data that others see.',
  },
)
export type PresenceRequest = Static<typeof PresenceRequest>

export const HeartbeatRequest = Type.Object(
  { type: Type.Literal('heartbeat') },
  { $id: 'HeartbeatRequest', ...closed, description: 'Says that the client lives. Answered by a heartbeat.' },
)
export type HeartbeatRequest = Static<typeof HeartbeatRequest>

/** Every message that a client may send, by its `type`. */
export const clientMessages = {
  hello: HelloRequest,
  subscribe: Subscribe,
  unsubscribe: Unsubscribe,
  syncRequest: SyncRequest,
  write: Write,
  stateChange: StateChangeRequest,
  presence: PresenceRequest,
  heartbeat: HeartbeatRequest,
}
export type ClientMessage = Static<(typeof clientMessages)[keyof typeof clientMessages]>

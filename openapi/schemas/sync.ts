import { type Static, Type } from '@sinclair/typebox'
import { Count, Integer } from './numbers.ts'
import { annotated, reference } from './responses.ts'
import { Epoch, Op, Revision, SpaceName } from './state.ts'

export const SyncNode = Type.Object(
  {
    id: Type.String({ description: 'Name of the connection; new with each one.' }),
    instance: Type.String({ description: 'The instance that it is connected to.' }),
    clientId: Type.String({ description: 'How its writes are marked in changes; stays the same across reconnects.' }),
    transport: Type.Union([Type.Literal('websocket'), Type.Literal('event-stream')]),
    connectedAt: Type.String({ format: 'date-time' }),
    lastSeen: Type.String({ format: 'date-time', description: 'When anything was last heard from it.' }),
    spaces: Type.Array(Type.String(), { description: 'The spaces that it follows.' }),
    subscriptions: Count('How many topics it follows.'),
    userId: Type.Optional(Type.String()),
    address: Type.String({ description: 'The address that it connects from.' }),
    lag: Count('Revisions that it is behind, in the topic where that is most.'),
    buffered: Count('Bytes that its socket has not taken yet.'),
  },
  { $id: 'SyncNode', additionalProperties: false, description: 'A live connection.' },
)
export type SyncNode = Static<typeof SyncNode>

export const SyncNodes = Type.Object(
  {
    nodes: Type.Array(Type.Ref('SyncNode')),
    unanswered: Type.Optional(
      Count('In the scope `cluster`: instances that did not answer within a second; their connections are missing.'),
    ),
  },
  { $id: 'SyncNodes', additionalProperties: false },
)
export interface SyncNodes {
  nodes: SyncNode[]
  unanswered?: number
}

export const SyncWrite = Type.Object(
  {
    space: Type.Optional(annotated(SpaceName, { default: 'app' })),
    clientId: Type.String({
      minLength: 8,
      maxLength: 128,
      description: 'Random, and kept across retries, so that a write sent twice is applied once.',
    }),
    seq: Integer({ minimum: 1, description: "The client's own number of the write, rising by one." }),
    ops: Type.Array(reference(Op), {
      minItems: 1,
      maxItems: 128,
      description: 'Applied together or not at all.',
    }),
  },
  { $id: 'SyncWrite', additionalProperties: false },
)
export type SyncWrite = Static<typeof SyncWrite>

export const SyncWritten = Type.Object(
  {
    seq: Integer({ minimum: 1 }),
    space: SpaceName,
    epoch: Epoch,
    prev: Integer({ description: 'The revision before.' }),
    revision: Revision,
    ops: Type.Array(reference(Op), { description: 'What was committed.' }),
  },
  { $id: 'SyncWritten', additionalProperties: false },
)
export type SyncWritten = Static<typeof SyncWritten>

export const SyncStats = Type.Object(
  {
    connections: Count('Live connections now.'),
    spaces: Count('Spaces with followers now.'),
    topics: Count('Topics with followers now.'),
    subscriptions: Count('Subscriptions now.'),
    lagging: Count('Subscriptions whose socket is full now.'),
    accepted: Count('Connections accepted.'),
    refused: Count('Connections refused: foreign origin, limits, closing.'),
    dropped: Count('Connections ended by the server because they were silent or too slow for too long.'),
    messages: Count('Messages received.'),
    invalidMessages: Count('Messages received that were refused.'),
    writes: Count('Writes received.'),
    acks: Count('Writes acknowledged.'),
    rejects: Count('Writes rejected.'),
    throttled: Count('Times that a connection was not read from for a while because it sent too fast.'),
    fullSyncs: Count('Full syncs sent.'),
    resumes: Count('Subscriptions that were continued from their position instead.'),
    conflations: Count('Times that a slow connection was caught up by one conflated range.'),
    changes: Count('Changes sent, counted once a recipient.'),
    frames: Count('Frames sent.'),
    bytes: Count('Bytes sent, before compression and without transport headers.'),
    closes: Type.Record(Type.String(), Count('Connections ended with this code.'), {
      description: 'By close code; 0 counts those outside the documented ranges.',
    }),
  },
  { $id: 'SyncStats', additionalProperties: false },
)
export type SyncStats = Static<typeof SyncStats>

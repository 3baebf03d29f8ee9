import { type Static, Type } from '@sinclair/typebox'
import { Count, Integer, Moment } from './numbers.ts'
import { annotated, reference } from './responses.ts'
import { Epoch, Op, Revision, SpaceName } from './state.ts'

const NODE = {
  id: '8b0c5a52-6a3c-4e0d-9b53-5f7f1d1a7a10',
  instance: 'Zt5iKJ0r6mUeY1c9dQm2nA',
  clientId: 'oNKhkSyiqZ1DZbjY9iUZRM',
  transport: 'websocket',
  connectedAt: '2026-03-14T09:26:53.589Z',
  lastSeen: '2026-03-14T09:31:07.020Z',
  spaces: ['app'],
  subscriptions: 1,
  userId: '0b7c9a52-6a3c-4e0d-9b53-5f7f1d1a7a10',
  address: '203.0.113.7',
  lag: 0,
  buffered: 0,
  sentBytes: 18_204,
  receivedBytes: 512,
}

export const SyncNode = Type.Object(
  {
    id: Type.String({ description: 'Name of the connection; new with each one.' }),
    instance: Type.String({ description: 'The instance that it is connected to.' }),
    clientId: Type.String({ description: 'How its writes are marked in changes; stays the same across reconnects.' }),
    transport: Type.Union([Type.Literal('websocket'), Type.Literal('event-stream')], {
      description: 'What it came by.',
    }),
    connectedAt: Type.String({ format: 'date-time', description: 'When it came.' }),
    lastSeen: Type.String({ format: 'date-time', description: 'When anything was last heard from it.' }),
    spaces: Type.Array(Type.String(), { description: 'The spaces that it follows.' }),
    subscriptions: Count('How many topics it follows.'),
    userId: Type.Optional(Type.String({ description: 'Whose it is. Absent: nobody is logged in.' })),
    address: Type.String({ description: 'The address that it connects from.' }),
    lag: Count('Revisions that it is behind, in the topic where that is most.'),
    buffered: Count('Bytes that its socket has not taken yet.'),
    sentBytes: Count('Bytes sent to it, before compression and without transport headers.'),
    receivedBytes: Count('Bytes received from it, counted likewise.'),
  },
  { $id: 'StatefulSyncNode', additionalProperties: false, description: 'A live connection.', examples: [NODE] },
)
export type SyncNode = Static<typeof SyncNode>

export const SyncNodes = Type.Object(
  {
    nodes: Type.Array(reference(SyncNode), { description: 'The live connections.' }),
    unanswered: Type.Optional(
      Count('In the scope `cluster`: instances that did not answer within a second; their connections are missing.'),
    ),
  },
  {
    $id: 'StatefulSyncNodes',
    additionalProperties: false,
    description: 'Who is connected.',
    examples: [{ nodes: [NODE] }],
  },
)
export type SyncNodes = Static<typeof SyncNodes>

export const SyncTraced = Type.Object(
  {
    type: Type.Literal('traced', { description: 'What tells it from the other events of the stream.' }),
    at: Moment('When, in milliseconds since 1970.'),
    instance: Type.String({ description: 'Whose connection it is.' }),
    node: Type.String({ description: 'The connection; of a message to several, the first of them.' }),
    direction: Type.Union([Type.Literal('sent'), Type.Literal('received')], { description: 'As the server sees it.' }),
    bytes: Count('Size of the message.'),
    message: Type.Object(
      { type: Type.String({ description: 'As the AsyncAPI document has it; `invalid`: it could not be understood.' }) },
      {
        additionalProperties: true,
        description:
          'What it is about: space, keys, positions, codes. Everything else is replaced by its type and its size in bytes; of more than ten operations or changes, `left` counts the rest.',
      },
    ),
    missed: Count('Messages since the one before that are not shown, as there were too many.'),
  },
  {
    additionalProperties: false,
    description: 'A message of a live connection, without what it carries.',
    examples: [
      {
        ...{ type: 'traced', at: 1_770_000_000_000, instance: NODE.instance, node: NODE.id, direction: 'received' },
        ...{ bytes: 87, missed: 0 },
        message: {
          ...{ type: 'write', seq: 1 },
          ops: [{ op: 'set', key: 'theme', value: { type: 'string', bytes: 6 } }],
        },
      },
    ],
  },
)
export type SyncTraced = Static<typeof SyncTraced>

export const SyncWrite = Type.Object(
  {
    space: Type.Optional(annotated(SpaceName, { default: 'app', description: 'Which space. Default `app`.' })),
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
  {
    $id: 'StatefulSyncWrite',
    additionalProperties: false,
    description: 'A numbered write of a client.',
    examples: [
      { space: 'app', clientId: 'client-8d0f3a1c', seq: 1, ops: [{ op: 'increment', key: 'likes', value: 2 }] },
    ],
  },
)
export type SyncWrite = Static<typeof SyncWrite>

export const SyncWritten = Type.Object(
  {
    seq: Integer({ minimum: 1, description: 'As in the write.' }),
    space: annotated(SpaceName, { description: 'The space that was written to.' }),
    epoch: Epoch,
    prev: Integer({ description: 'The revision before.' }),
    revision: Revision,
    ops: Type.Array(reference(Op), { description: 'What was committed.' }),
  },
  {
    $id: 'StatefulSyncWritten',
    additionalProperties: false,
    description: 'The write is committed, and durable.',
    examples: [
      {
        seq: 1,
        space: 'app',
        epoch: '1:kX3v9Qm2',
        prev: 7,
        revision: 8,
        ops: [{ op: 'increment', key: 'likes', value: 2 }],
      },
    ],
  },
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
    receivedBytes: Count('Bytes received, counted likewise.'),
    closes: Type.Record(Type.String(), Count('Connections ended with this code.'), {
      description: 'By close code; 0 counts those outside the documented ranges.',
    }),
  },
  { $id: 'StatefulSyncStats', additionalProperties: false, description: 'The numbers of the live connections.' },
)
export type SyncStats = Static<typeof SyncStats>

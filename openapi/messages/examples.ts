/**
 * One conversation over `GET /sync?space=app`, and what else may happen in it. Every message is one that the server
 * really takes or sends: `test/openapi/asyncapi.test.ts` has this conversation with it.
 */
import type { ClientMessage, clientMessages } from './client.ts'
import type { ServerMessage, serverMessages } from './server.ts'

export interface Example<Message> {
  readonly summary: string
  readonly payload: Message
}

/** At least one of each `type`. */
type Examples<Types extends string, Message extends { type: string }> = {
  readonly [Type in Types]: readonly [Example<Extract<Message, { type: Type }>>, ...Example<Message>[]]
}

const epoch = '1:kX3v9Qm2'
const node = '8b0c5a52-6a3c-4e0d-9b53-5f7f1d1a7a10'
/** What others see of a client that says `client-8d0f3a1c`, without a user. */
const clientId = 'oNKhkSyiqZ1DZbjY9iUZRM'

export const clientExamples: Examples<keyof typeof clientMessages, ClientMessage> = {
  hello: [
    {
      summary: 'The first message, with an id that the client keeps over reconnects',
      payload: { type: 'hello', protocols: [1], clientId: 'client-8d0f3a1c', page: 'page-51f7c2' },
    },
  ],
  subscribe: [
    { summary: 'The whole space, from the beginning', payload: { type: 'subscribe', space: 'app' } },
    {
      summary: 'Only the keys that begin with `note:`, from where the client stopped',
      payload: { type: 'subscribe', space: 'app', prefix: 'note:', since: { epoch, revision: 7 } },
    },
  ],
  unsubscribe: [{ summary: 'No longer those keys', payload: { type: 'unsubscribe', space: 'app', prefix: 'note:' } }],
  syncRequest: [
    {
      summary: 'After a gap: what came after revision 7',
      payload: { type: 'syncRequest', space: 'app', since: { epoch, revision: 7 } },
    },
  ],
  write: [
    {
      summary: 'Adds 2 to `likes`, no matter what it is by then: `value` is the amount, and 40 becomes 42',
      payload: { type: 'write', seq: 1, ops: [{ op: 'increment', key: 'likes', value: 2 }] },
    },
    {
      summary: 'One element for the end of a list, and a key that is deleted after a minute: both or neither',
      payload: {
        type: 'write',
        seq: 2,
        space: 'app',
        ops: [
          { op: 'append', key: 'log', value: { text: 'liked' } },
          { op: 'set', key: 'typing', value: 'ada', ttl: 60_000 },
        ],
      },
    },
  ],
  stateChange: [
    {
      summary: 'The same without a number: sent twice, it is applied twice',
      payload: { type: 'stateChange', ops: [{ op: 'merge', key: 'user:1', value: { city: 'Oslo' } }] },
    },
  ],
  presence: [
    {
      summary: 'Who is there? And others see this client with its name',
      payload: { type: 'presence', space: 'app', data: { name: 'Ada' } },
    },
    { summary: 'It is not to be seen any more', payload: { type: 'presence', space: 'app', leave: true } },
  ],
  heartbeat: [{ summary: 'Still here', payload: { type: 'heartbeat' } }],
}

export const serverExamples: Examples<keyof typeof serverMessages, ServerMessage> = {
  hello: [
    {
      summary: 'What is agreed on, and what the client keeps to',
      payload: {
        type: 'hello',
        protocol: 1,
        node,
        clientId,
        heartbeat: 25_000,
        limits: { payload: 1_048_576, queue: 256, rate: 200, subscriptions: 100 },
      },
    },
  ],
  fullSync: [
    {
      summary: 'Everything at revision 7, from where changes go on',
      payload: {
        type: 'fullSync',
        space: 'app',
        epoch,
        revision: 7,
        state: { likes: 40, log: [], 'user:1': { name: 'Ada', city: 'Rome' } },
      },
    },
  ],
  stateChange: [
    {
      summary: 'Another client added 2 to `likes`: a client that has 40 at revision 7 has 42 at revision 8',
      payload: {
        type: 'stateChange',
        space: 'app',
        epoch,
        changes: [{ prev: 7, revision: 8, ops: [{ op: 'increment', key: 'likes', value: 2 }], clientId, seq: 1 }],
      },
    },
    {
      summary: 'The answer to `since`: it continues from there',
      payload: {
        type: 'stateChange',
        space: 'app',
        epoch,
        since: { epoch, revision: 7 },
        changes: [{ prev: 7, revision: 8, ops: [{ op: 'increment', key: 'likes', value: 2 }], clientId, seq: 1 }],
      },
    },
  ],
  ack: [
    {
      summary: 'The write is revision 8, and durable; apply what was sent under this number',
      payload: { type: 'ack', seq: 1, space: 'app', epoch, prev: 7, revision: 8 },
    },
    {
      summary: 'One without a number, with what was committed',
      payload: {
        type: 'ack',
        space: 'app',
        epoch,
        prev: 9,
        revision: 10,
        ops: [{ op: 'merge', key: 'user:1', value: { city: 'Oslo' } }],
      },
    },
  ],
  reject: [
    {
      summary: 'Nothing was written: the text of `user:1` cannot be incremented',
      payload: {
        type: 'reject',
        seq: 3,
        code: 'STATEFUL_STATE_TYPE_MISMATCH',
        message: "'increment' of key 'user:1' needs a number to increment.",
        outcome: 'refused',
      },
    },
  ],
  error: [
    {
      summary: 'It does not follow that, so it cannot be brought up to date',
      payload: {
        type: 'error',
        code: 'STATEFUL_NOT_SUBSCRIBED',
        message: 'There is no such subscription. Send a subscribe first.',
        request: 'unsubscribe',
        space: 'app',
        prefix: 'note:',
      },
    },
  ],
  heartbeat: [{ summary: 'The server lives', payload: { type: 'heartbeat' } }],
  revoked: [
    { summary: 'Logged out, perhaps on another device', payload: { type: 'revoked', reason: 'the session ended' } },
  ],
  presence: [
    {
      summary: 'Everybody who is there',
      payload: {
        type: 'presence',
        space: 'app',
        members: [{ node, clientId, data: { name: 'Ada' }, connectedAt: 1_770_000_000_000 }],
      },
    },
    { summary: 'One left', payload: { type: 'presence', space: 'app', joined: [], left: [node] } },
  ],
  closing: [{ summary: 'Come back in a good three seconds', payload: { type: 'closing', retryAfter: 3_150 } }],
}

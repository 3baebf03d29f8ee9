import t from 'tap'
import { clientExamples, serverExamples } from '../../../../openapi/messages/examples.ts'
import { redacted } from '../../../../plugins/sync/trace/redacted.ts'

t.test('where it is and what is done is shown, what it is is not', async (t) => {
  const change = {
    ...{ type: 'stateChange', space: 'app', epoch: '1:a' },
    changes: [
      {
        ...{ prev: 1, revision: 2, clientId: 'secret-client' },
        ops: [
          { op: 'set', key: 'user:1', value: { password: 'hunter2' } },
          { op: 'delete', key: 'x' },
        ],
      },
    ],
  }
  t.same(redacted(change), {
    ...{ type: 'stateChange', space: 'app', epoch: '1:a' },
    changes: [
      {
        ...{ prev: 1, revision: 2, clientId: { type: 'string', bytes: 15 } },
        ops: [
          { op: 'set', key: 'user:1', value: { type: 'object', bytes: 22 } },
          { op: 'delete', key: 'x' },
        ],
      },
    ],
  })
  t.same(redacted({ type: 'presence', space: 'app', data: null }), {
    ...{ type: 'presence', space: 'app' },
    data: { type: 'null', bytes: 4 },
  })
  t.same(redacted({ ops: 'none', key: { nested: 'hunter2' } }), {
    ops: { type: 'string', bytes: 6 },
    key: { type: 'object', bytes: 20 },
  })
})

t.test('of long lists the beginning, and how many are left', async (t) => {
  const ops = Array.from({ length: 25 }, (_, i) => ({ op: 'set', key: `k${i}`, value: i }))
  const shown = redacted({ type: 'write', ops })['ops'] as object[]
  t.equal(shown.length, 11)
  t.same(shown[10], { left: 15 })
})

t.test('no value, token or id of a client of any message of the protocol gets through', async (t) => {
  const messages = [...Object.values(clientExamples), ...Object.values(serverExamples)].flat()
  t.ok(messages.length > 10)
  for (const { payload } of messages as { payload: object }[]) {
    const text = JSON.stringify(redacted(payload))
    for (const hidden of [
      'value',
      'state',
      'data',
      'clientId',
      'page',
      'node',
      'user',
      'members',
      'assigned',
      'message',
    ]) {
      for (const [, value] of JSON.stringify(payload).matchAll(new RegExp(`"${hidden}":("[^"]+")`, 'g'))) {
        t.notOk(text.includes(`"${hidden}":${value}`), `${hidden} of ${(payload as { type: string }).type}`)
      }
    }
  }
})

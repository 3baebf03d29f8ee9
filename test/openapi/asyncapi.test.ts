import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import Fastify from 'fastify'
import t from 'tap'
import { clientMessages } from '../../openapi/messages/client.ts'
import { clientExamples, serverExamples } from '../../openapi/messages/examples.ts'
import { Change, PresenceMember, serverMessages } from '../../openapi/messages/server.ts'
import { Op, operations } from '../../openapi/schemas/state.ts'
import { documentation } from '../../plugins/documentation/index.ts'
import { state } from '../../plugins/state/index.ts'
import { applyOp } from '../../plugins/state/values/apply-op.ts'
import { storage } from '../../plugins/storage/index.ts'
import { strictAjv } from '../../plugins/support/schemas.ts'
import { sync } from '../../plugins/sync/index.ts'
import { syncRoutes } from '../../routes/sync/index.ts'
import { SyncPeer } from '../fixtures/sync-peer.ts'
import { startServer } from '../routes/sync/server.ts'

t.test('the document is that of the application that serves it', async (t) => {
  const app = Fastify({ trustProxy: '127.0.0.1' })
  t.teardown(() => app.close())
  await app.register(storage, { storage: 'memory:' })
  await app.register(state)
  await app.register(sync)
  await app.register(documentation, { prefix: '/api' })
  await app.register(syncRoutes, { prefix: '/api', authorize: () => true })
  const headers = { host: 'live.example:8443', 'x-forwarded-proto': 'https' }
  const document = (await app.inject({ url: '/api/asyncapi.json', headers })).json()
  t.strictSame(document.servers.default, { host: 'live.example:8443', protocol: 'wss' })
  t.equal(document.channels.sync.address, '/api/sync')
  const { StatefulStateOp } = document.components.schemas
  t.match(StatefulStateOp.properties.value.description, /`increment`: the number to add/)
  const shown = new Set(StatefulStateOp.examples.map(({ op }: { op: string }) => op))
  for (const { const: op } of StatefulStateOp.properties.op.anyOf) t.ok(shown.has(op), `an example of ${op}`)
})

t.test('what the value of an operation makes of another is true', (t) => {
  for (const { op, before, value, after } of operations) {
    t.strictSame(applyOp(before, { op, key: 'k', value }), after, op)
    t.ok(Op.properties.value.description?.includes(`\`${JSON.stringify(value)}\` makes \`${JSON.stringify(after)}\``))
  }
  t.end()
})

t.test('the document of the WebSocket names every message, with examples that are valid', async (t) => {
  const { components } = JSON.parse(await readFile(new URL('../../openapi/asyncapi.json', import.meta.url), 'utf8'))
  const validator = strictAjv({
    schemas: [...Object.values(clientMessages), ...Object.values(serverMessages), Change, PresenceMember],
  })
  for (const schema of [...Object.values(clientMessages), ...Object.values(serverMessages)]) {
    const id = `${schema.$id}`
    const examples: { summary: string; payload: object }[] = components.messages[id].examples
    t.ok(examples.length > 0, id)
    for (const { summary, payload } of examples) {
      t.ok(validator.validate(id, payload), `${id}, ${summary}: ${validator.errorsText()}`)
    }
  }
})

t.test('the examples are a conversation with a real server', async (t) => {
  const server = await startServer(t, 'memory:')
  const { state } = server.app
  for (let likes = 36; likes <= 40; likes++) await state.set('likes', likes)
  await state.set('log', [])
  await state.set('user:1', { name: 'Ada', city: 'Rome' })
  const { epoch } = state
  /** What differs from run to run is as in the examples. */
  const told = (message: object) => {
    const text = JSON.stringify(message)
      .replaceAll(epoch, '1:kX3v9Qm2')
      .replace(/("node":")[^"]+/g, `$1${node}`)
    return JSON.parse(text.replace(/("connectedAt":)\d+/g, '$11770000000000'))
  }
  const { node } = serverExamples.hello[0].payload
  const client = await SyncPeer.connect(t, server.ws)
  const say = (example: { payload: object } | undefined) =>
    client.send(JSON.stringify(example?.payload).replaceAll('1:kX3v9Qm2', epoch))
  const hear = async (example: { payload: object } | undefined, by = client) =>
    t.strictSame(told(await by.next()), JSON.parse(JSON.stringify(example?.payload)))

  say(clientExamples.hello[0])
  await hear(serverExamples.hello[0])
  say(clientExamples.subscribe[0])
  await hear(serverExamples.fullSync[0])
  say(clientExamples.presence[0])
  await hear(serverExamples.presence[0])
  say(clientExamples.presence[1])
  const other = await SyncPeer.connect(t, `${server.ws}?space=app`)
  await hear(serverExamples.fullSync[0], other)

  say(clientExamples.write[0])
  await hear(serverExamples.ack[0])
  await hear(serverExamples.stateChange[0], other)
  t.equal(state.get('likes'), 42)
  say(clientExamples.syncRequest[0])
  await hear(serverExamples.stateChange[1])
  say(clientExamples.write[1])
  t.match(await client.next(), { type: 'ack', seq: 2, revision: 9 })
  say(clientExamples.stateChange[0])
  await hear(serverExamples.ack[1])
  client.send({ type: 'write', seq: 3, ops: [{ op: 'increment', key: 'user:1' }] })
  await hear(serverExamples.reject[0])

  say(clientExamples.subscribe[1])
  t.match(await client.next(), { type: 'stateChange', prefix: 'note:', since: { revision: 7 } })
  say(clientExamples.unsubscribe[0])
  say(clientExamples.unsubscribe[0])
  await hear(serverExamples.error[0])
  say(clientExamples.heartbeat[0])
  // The next() of a peer leaves heartbeats out.
  const [beat] = (await once(client.socket, 'message')) as [Buffer]
  t.strictSame(JSON.parse(beat.toString()), serverExamples.heartbeat[0].payload)
})

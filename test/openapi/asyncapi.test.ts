import Fastify from 'fastify'
import t from 'tap'
import { asyncApiDocument } from '../../openapi/asyncapi.ts'
import { clientMessages } from '../../openapi/messages/client.ts'
import { serverMessages } from '../../openapi/messages/server.ts'
import { documentation } from '../../plugins/documentation/index.ts'
import { state } from '../../plugins/state/index.ts'
import { storage } from '../../plugins/storage/index.ts'
import { sync } from '../../plugins/sync/index.ts'
import { syncRoutes } from '../../routes/sync/index.ts'

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
  const { StateOp } = document.components.schemas
  t.match(StateOp.properties.value.description, /`increment`: the number to add/)
  const shown = new Set(StateOp.examples.map(({ op }: { op: string }) => op))
  for (const { const: op } of StateOp.properties.op.anyOf) t.ok(shown.has(op), `an example of ${op}`)
})

t.test('the document of the WebSocket names every message', async (t) => {
  const { components } = JSON.parse(JSON.stringify(asyncApiDocument()))
  const names = Object.values<{ name: string }>(components.messages).map(({ name }) => name)
  for (const schema of [...Object.values(clientMessages), ...Object.values(serverMessages)]) {
    t.ok(names.includes(schema.$id ?? ''), `${schema.$id}`)
  }
})

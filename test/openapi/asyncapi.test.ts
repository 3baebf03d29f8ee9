import t from 'tap'
import { asyncApiDocument } from '../../openapi/asyncapi.ts'
import { clientMessages } from '../../openapi/messages/client.ts'
import { serverMessages } from '../../openapi/messages/server.ts'

t.test('the document of the WebSocket names every message', async (t) => {
  const { components } = JSON.parse(JSON.stringify(asyncApiDocument()))
  const names = Object.values<{ name: string }>(components.messages).map(({ name }) => name)
  for (const schema of [...Object.values(clientMessages), ...Object.values(serverMessages)]) {
    t.ok(names.includes(schema.$id ?? ''), `${schema.$id}`)
  }
})

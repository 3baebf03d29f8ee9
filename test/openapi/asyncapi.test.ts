import { Parser } from '@asyncapi/parser'
import t from 'tap'
import { asyncApiDocument } from '../../openapi/asyncapi.ts'
import { clientMessages } from '../../openapi/messages/client.ts'
import { serverMessages } from '../../openapi/messages/server.ts'

t.test('the document of the WebSocket is valid AsyncAPI 3 and names every message', async (t) => {
  const { document, diagnostics } = await new Parser().parse(JSON.stringify(asyncApiDocument()))
  t.strictSame(
    diagnostics.filter(({ severity }) => severity <= 1).map(({ code, message, path }) => ({ code, message, path })),
    [],
  )
  const names =
    document
      ?.messages()
      .all()
      .map((message) => message.name()) ?? []
  for (const schema of [...Object.values(clientMessages), ...Object.values(serverMessages)]) {
    t.ok(names.includes(schema.$id ?? ''), `${schema.$id}`)
  }
})

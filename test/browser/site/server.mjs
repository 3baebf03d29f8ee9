/** An application as its users write one, for the pages of this folder; the folder of the bundle is its argument. */
import { readFile } from 'node:fs/promises'
import { extname, join } from 'node:path'
import Fastify from 'fastify'
import { stateful, syncRoutes } from 'fastify-stateful'

const bundle = process.argv[2]
const TYPES = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript',
  '.css': 'text/css',
  '.map': 'application/json',
}

const app = Fastify({ forceCloseConnections: true })
await app.register(stateful, {
  storage: 'memory:',
  secret: 'a secret that is long enough for a cookie',
  sync: { heartbeatInterval: '1s' },
})
await app.register(syncRoutes, {
  // Everybody follows and writes, but a space of the user's own.
  authorize: (request, _action, { space }) => space !== 'private' || request.session.user !== undefined,
})

app.post('/login', async (request) => {
  await request.login({ id: 'ada' })
  return {}
})
app.post('/end', async () => ({ ended: await app.sessions.revokeUser('ada') }))
app.get('/value/:space', async ({ params, query }) => ({ value: app.state.space(params.space).get(query.key) }))
app.post('/value/:space', async ({ params, body }) => app.state.space(params.space).set(body.key, body.value))
app.get('/nodes', async () => app.sync.nodes().length)
app.get('/people/:space', async ({ params }) => app.sync.presence(params.space).length)
app.get('/react-server.html', async (_request, reply) => {
  const { render } = await import(join(bundle, 'react-server.mjs'))
  const page = await readFile(join(bundle, 'react.html'), 'utf8')
  const snapshot = app.state.snapshot()
  const { html, problems } = await render(snapshot)
  const filled = page
    .replace('<div id="app"></div>', `<div id="app">${html}</div>`)
    .replace(
      '</head>',
      `<script>initial=${JSON.stringify({ app: snapshot })};serverProblems=${JSON.stringify(problems)}</script></head>`,
    )
  return reply.type(TYPES['.html']).send(filled)
})
app.get('/:name', file)
app.get('/assets/:name', file)

async function file(request, reply) {
  const path = request.url.slice(1)
  const content = await readFile(join(bundle, path)).catch(() => undefined)
  if (content === undefined) return reply.callNotFound()
  return reply.type(TYPES[extname(path)] ?? 'text/plain').send(content)
}

process.once('SIGTERM', () => app.close())
await app.state.set('title', 'from the server')
process.stdout.write(`listening at ${await app.listen({ port: 0, host: '127.0.0.1' })}\n`)

/**
 * A board that several people write on at once: live, offline too, and showing who is there. Open it in two windows.
 *
 *   npm run build && node examples/board/server.js    and then http://localhost:3000
 */
import { readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'
import Fastify from 'fastify'
import { problems, state, storage, sync, syncRoutes } from 'fastify-stateful'

const html = await readFile(new URL('index.html', import.meta.url), 'utf8')
const css = await readFile(new URL('board.css', import.meta.url), 'utf8')
// The page imports `fastify-stateful/client`, which any bundler makes into one small file.
const entry = fileURLToPath(new URL('page.js', import.meta.url))
const { outputFiles } = await build({ entryPoints: [entry], bundle: true, format: 'esm', minify: true, write: false })

const app = Fastify({ logger: true, forceCloseConnections: true })
await app.register(problems)
await app.register(storage, { storage: process.env.STORAGE ?? 'lmdb:./data' })
await app.register(state)
await app.register(sync)
// Everybody may read and write here; your `authorize` asks who it is.
await app.register(syncRoutes, { authorize: () => true })

// The rules stay on the server: a page that breaks one shows its write until the answer comes, and takes it back.
app.state.space('board').use((context, next) => {
  if (context.value?.text?.length > 80) {
    throw Object.assign(new Error('A note has room for 80 characters.'), { statusCode: 422 })
  }
  return next()
})

app.get('/', (_request, reply) => reply.type('text/html; charset=utf-8').send(html))
app.get('/board.css', (_request, reply) => reply.type('text/css; charset=utf-8').send(css))
app.get('/page.js', (_request, reply) => reply.type('text/javascript; charset=utf-8').send(outputFiles[0].text))

for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => app.close())
await app.listen({ port: Number(process.env.PORT ?? 3000) })

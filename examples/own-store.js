/**
 * Sessions in a store of your own; neither `storage` nor any other plugin is needed. This one keeps them in memory and
 * writes down who came and went. The interface `SessionStore` says what a store must do; whoever keeps sessions
 * elsewhere implements all of it.
 *
 *   npm run build && node examples/own-store.js
 *   curl -i -X POST localhost:3000/login/ada
 */
import { appendFile } from 'node:fs/promises'
import Fastify from 'fastify'
import { MemorySessionStore, session } from 'fastify-stateful'

class AuditedSessionStore extends MemorySessionStore {
  #file

  constructor(file) {
    super()
    this.#file = file
  }

  async create(created, admission) {
    const result = await super.create(created, admission)
    if (result.outcome === 'created') await this.#note(admission.now, 'begins', created.id)
    return result
  }

  /** A login replaces the visitor's anonymous session, a new secret an old one. */
  async rotate(former, created, admission) {
    const result = await super.rotate(former, created, admission)
    if (result.outcome === 'created') {
      await this.#note(admission.now, 'ends', former.id)
      await this.#note(admission.now, 'begins', created.id)
    }
    return result
  }

  async revoke(id, now) {
    const wasLive = await super.revoke(id, now)
    if (wasLive) await this.#note(now, 'ends', id)
    return wasLive
  }

  /** The id is the public handle: it names a session and does not open it. */
  #note(now, what, id) {
    return appendFile(this.#file, `${new Date(now).toISOString()} ${what} ${id}\n`)
  }
}

const app = Fastify({ logger: true })
await app.register(session, {
  secret: process.env.SESSION_SECRET ?? 'for trying it out; yours comes from the environment',
  store: new AuditedSessionStore(process.env.AUDIT_FILE ?? 'audit.log'),
})

app.post('/login/:name', async (request) => {
  // Here your application has checked a password.
  await request.login({ id: request.params.name })
  return { user: request.session.user }
})
app.get('/', async (request) => ({ user: request.session.user ?? null }))
app.post('/logout', async (request, reply) => {
  await request.logout()
  reply.code(204)
})

for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => app.close())
await app.listen({ port: Number(process.env.PORT ?? 3000) })

import Fastify, { type FastifyInstance } from 'fastify'
import type { Test } from 'tap'
import { problems } from '../../../plugins/problems/index.ts'
import { SessionEngine } from '../../../plugins/session/engine.ts'
import { type SessionOptions, Sessions, session } from '../../../plugins/session/index.ts'
import { sessionStoreOn } from '../../../plugins/session/stores/on-storage.ts'
import { bucketOf, newToken, ownerOf } from '../../../plugins/session/token.ts'
import { openStorage, type RedisStorageOptions, storage } from '../../../plugins/storage/index.ts'
import { ManualClock } from '../../../plugins/support/manual-clock.ts'
import { type Gate, Gates } from '../../fixtures/gates.ts'
import { Browser, SECRET } from '../../fixtures/session-app.ts'

declare module 'fastify' {
  interface Session {
    x?: number
    y?: number
    n?: number
  }
}

export const MINUTE = 60_000
export const POLICY = { idle: 30 * MINUTE, absolute: 12 * 60 * MINUTE, touch: MINUTE }

export type Target = string | RedisStorageOptions

/** Routes that do to a session what an application does; `gate` keeps a request waiting. */
function routes(app: FastifyInstance, gates: Gates) {
  app.get<{ Querystring: { user?: string } }>('/login', async (request) => {
    await request.login({ id: request.query.user ?? 'ada' })
    return 'in'
  })
  app.get('/logout', async (request) => {
    await request.logout()
    return 'out'
  })
  app.get('/regenerate', async ({ session }) => {
    await session.regenerate(['user'])
    return 'regenerated'
  })
  app.get<{ Querystring: { gate?: string } }>('/me', async ({ session, query }, reply) => {
    await gates.pass(query.gate)
    if (!session.user) return reply.code(401).send({ user: null })
    return { user: session.user.id, x: session.x ?? null, y: session.y ?? null, n: session.n ?? null }
  })
  app.get<{ Querystring: { key: 'x' | 'y'; value: number; gate?: string } }>('/set', async ({ session, query }) => {
    session[query.key] = Number(query.value)
    await gates.pass(query.gate)
    return 'set'
  })
  app.get('/remove', async ({ session }) => {
    delete session.x
    return 'removed'
  })
  app.get('/increment', async ({ session }) => ({ n: await session.update('n', (n = 0) => n + 1) }))
  app.get('/boom', async ({ session }) => {
    session.x = 13
    throw new Error('boom')
  })
}

export interface World {
  app: FastifyInstance
  clock: ManualClock
  /** Closes a gate for requests with `gate=<name>`. */
  gate(name: string): Gate
}

export async function start(t: Test, target: Target, options: Partial<SessionOptions> = {}): Promise<World> {
  const app = Fastify()
  t.teardown(() => app.close())
  const clock = new ManualClock()
  const gates = new Gates()
  await app.register(problems)
  await app.register(storage, { storage: target })
  await app.register(session, { secret: SECRET, production: false, clock, ...POLICY, ...options })
  routes(app, gates)
  await app.ready()
  return { app, clock, gate: (name) => gates.close(name) }
}

export async function loggedIn({ app }: World, user = 'ada'): Promise<Browser> {
  const browser = new Browser(app)
  await browser.get(`/login?user=${user}`)
  return browser
}

/** The engine alone, on a storage of its own. */
export async function startEngine(t: Test, target: Target, limit?: number) {
  const opened = await openStorage(target)
  t.teardown(() => opened.close())
  const clock = new ManualClock()
  const store = sessionStoreOn(opened)
  const policy = limit === undefined ? POLICY : { ...POLICY, limit: { sessions: limit, action: 'evict' as const } }
  const engine = new SessionEngine({ store, clock, ...policy })
  const sessions = new Sessions(engine)
  const login = (userId: string) => {
    const token = newToken(bucketOf(ownerOf(userId)))
    return engine.begin(token, { user: { id: userId } }, { userId, login: true }).then((open) => ({ token, open }))
  }
  return { engine, sessions, clock, store, login, storage: opened }
}

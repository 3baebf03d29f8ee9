import { connect } from 'node:net'
import Fastify, {
  type FastifyInstance,
  type FastifyReply,
  type FastifyRequest,
  type FastifyServerOptions,
} from 'fastify'
import type { Test } from 'tap'
import { cache } from '../../../plugins/cache/index.ts'
import { type ResponseCacheOptions, type RouteCache, responseCache } from '../../../plugins/response-cache/index.ts'
import { storage } from '../../../plugins/storage/index.ts'
import { type Clock, systemClock } from '../../../plugins/support/clock.ts'

/** An app with the response cache, closed at teardown; `set` adds what the test is about. */
export async function buildApp(
  t: Test,
  set: (app: FastifyInstance) => unknown,
  options: FastifyServerOptions & { https?: object } = {},
  url = 'memory:',
): Promise<FastifyInstance> {
  const app = Fastify(options as FastifyServerOptions) as FastifyInstance
  t.teardown(() => app.close())
  await app.register(storage, { storage: url })
  // A busy machine is no outage.
  await app.register(cache, { l2: { timeout: '10s' } })
  await app.register(responseCache)
  await set(app)
  await app.ready()
  return app
}

export interface Timed {
  app: FastifyInstance
  /** Moves the clock of the cache. */
  pass(seconds: number): void
}

/** An app whose cache has a clock that can be moved. */
export async function timed(
  t: Test,
  set: (app: FastifyInstance) => unknown,
  options: ResponseCacheOptions = {},
  before: (app: FastifyInstance) => unknown = () => {},
  url = 'memory:',
): Promise<Timed> {
  let ahead = 0
  const clock: Clock = {
    ...systemClock,
    now: () => Date.now() + ahead,
    monotonic: () => performance.now() + ahead,
  }
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(storage, { storage: url })
  // A busy machine is no outage.
  await app.register(cache, { clock, l2: { timeout: '10s' } })
  await before(app)
  await app.register(responseCache, { clock, ...options })
  await set(app)
  await app.ready()
  const pass = (seconds: number) => {
    ahead += seconds * 1_000
  }
  return { app, pass }
}

export type Answering = (reply: FastifyReply, call: number, request: FastifyRequest) => unknown

/** A route that counts; `answer` may send something else than the count. */
export async function counting(
  t: Test,
  cache: RouteCache,
  answer: Answering = () => {},
  options: ResponseCacheOptions = {},
) {
  let calls = 0
  const made = await timed(
    t,
    (app) =>
      app.get(
        '/',
        { config: { cache } },
        async (request, reply) => (await answer(reply, ++calls, request)) ?? `${calls}`,
      ),
    options,
  )
  const ask = (headers = {}, method: 'GET' | 'HEAD' = 'GET') => made.app.inject({ method, url: '/', headers })
  const told = async (headers = {}) => `${(await ask(headers)).body}`
  return { ...made, ask, told, calls: () => calls }
}

export const says = (cacheControl: string, more: Record<string, string> = {}): Answering => {
  return (reply) => void reply.headers({ 'cache-control': cacheControl, ...more })
}

/** What comes over the wire. */
export async function wire(app: FastifyInstance, ...lines: string[]): Promise<string> {
  if (!app.server.listening) await app.listen({ port: 0, host: '127.0.0.1' })
  const socket = connect((app.server.address() as { port: number }).port, '127.0.0.1')
  socket.write([lines[0], 'host: localhost:80', 'connection: close', ...lines.slice(1), '', ''].join('\r\n'))
  return (await socket.setEncoding('latin1').toArray()).join('')
}

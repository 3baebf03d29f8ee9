import { Writable } from 'node:stream'
import type { FastifyRequest } from 'fastify'
import t from 'tap'
import { build } from '../../app.ts'
import type { Json } from '../../plugins/state/index.ts'
import { ADMIN_PASSWORD, SECRET } from '../fixtures/credentials.ts'
import { onEveryStorage, storageUrl } from '../fixtures/storages.ts'

/** JSON cannot say it and throws, wherever an application hands one on. */
const BIG = (2n ** 64n) as never as Json

type Use = (request: FastifyRequest) => unknown

/** What a handler may do with one, and what its client gets: 200, or a problem. */
const uses: Record<string, { run: Use; status: number }> = {
  'as its answer': { run: () => ({ n: BIG }), status: 500 },
  thrown: {
    run: () => {
      throw BIG
    },
    status: 500,
  },
  'on an error': {
    run: () => {
      throw Object.assign(new Error('no'), { n: BIG, statusCode: 400 })
    },
    status: 400,
  },
  'in the log': { run: ({ log }) => log.info({ n: BIG, deep: { n: [BIG] } }, 'with %s', BIG), status: 200 },
  'as a value of state': { run: ({ server }) => server.state.set('n', { n: BIG }), status: 400 },
  'as what an update of state returns': { run: ({ server }) => server.state.update('n', () => BIG), status: 400 },
  'as an increment': { run: ({ server }) => server.state.increment('n', BIG as never), status: 400 },
  'as a value of the cache': {
    async run({ server: { cache } }) {
      await cache.set('n', { n: BIG })
      return { same: (await cache.get<{ n: unknown }>('n'))?.n === BIG }
    },
    status: 200,
  },
  'as what a loader gives': {
    run: async ({ server }) => ({ same: (await server.cache.getOrSet('loaded', async () => BIG)) === BIG }),
    status: 200,
  },
  'as the argument of a cached function': {
    async run({ server }) {
      const twice = server.cache.wrap(async (n: unknown) => `${n}`, { key: (n) => `wrapped:${n}` })
      return { same: (await twice(BIG)) === `${BIG}` }
    },
    status: 200,
  },
  'as a key of the cache': { run: ({ server }) => server.cache.set(BIG as never, 1), status: 400 },
  'written behind': { run: ({ server }) => server.cache.setWithDelayedPersist('behind', { n: BIG }), status: 200 },
  'in a session': {
    run(request) {
      Object.assign(request.session, { n: BIG })
    },
    status: 500,
  },
  'as the id of a user': { run: (request) => request.login({ id: BIG as never }), status: 500 },
  'in a session that is made for somebody': {
    run: ({ server }) => server.sessions.create('ada', { n: BIG }),
    status: 500,
  },
}

t.test('a BigInt is a value, or a problem of its request; nobody else notices', (t) =>
  onEveryStorage(t, async (t, kind) => {
    const stream = new Writable({ write: (_chunk, _encoding, done) => done() })
    const app = await build({
      storage: await storageUrl(t, kind),
      secret: SECRET,
      adminPassword: ADMIN_PASSWORD,
      logger: { level: 'info', stream },
    })
    t.teardown(() => app.close())
    app.cache.writeBehind('default', async () => {})
    app.get<{ Querystring: { use: string } }>(
      '/uses',
      async (request) => (await uses[request.query.use]?.run(request)) ?? {},
    )
    for (const [name, { status }] of Object.entries(uses)) {
      const answer = await app.inject({ url: '/uses', query: { use: name } })
      t.equal(answer.statusCode, status, `${name}: ${answer.body}`)
      if (status === 200) t.not(answer.json().same, false, name)
      else t.match(answer.headers['content-type'], /^application\/problem\+json/, name)
      t.equal((await app.inject('/health/live')).statusCode, 200)
    }
  }),
)

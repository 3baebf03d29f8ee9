import { setTimeout as delay } from 'node:timers/promises'
import Fastify, { type FastifyInstance } from 'fastify'
import t from 'tap'
import { session } from '../../../plugins/session/index.ts'
import type { StoredSession } from '../../../plugins/session/stores/contract.ts'
import { MemorySessionStore } from '../../../plugins/session/stores/memory.ts'
import { storage } from '../../../plugins/storage/index.ts'
import { startRedis } from '../../fixtures/redis-server.ts'
import { Browser, SECRET, sessionApp } from '../../fixtures/session-app.ts'
import { onEveryStorage, storageUrl } from '../../fixtures/storages.ts'

declare module 'fastify' {
  interface Session {
    counter?: number
    secretValue?: string
  }
}

const KEY = 'a secret for the data, long enough too!'
const NEXT_KEY = 'the next secret for data, as long as it'

function routes(app: FastifyInstance) {
  app.get('/become', async ({ session }) => {
    session.user = { id: 'eve' }
    return 'eve'
  })
  app.get('/forget', async ({ session }) => {
    delete session.user
    return 'nobody'
  })
  app.get('/keep', async ({ session }) => {
    session.secretValue = 'the-plain-text'
    return 'kept'
  })
  app.get('/kept', async ({ session }) => ({ value: session.secretValue ?? null }))
  app.get('/count', async ({ session }) => ({ counter: await session.update('counter', (value = 0) => value + 1) }))
  app.get('/twice', async ({ session }, reply) => {
    session.counter = 1
    reply.send('hello')
  })
}

t.test('whoever becomes someone else gets a fresh id, without login() as well', (t) =>
  onEveryStorage(t, async (t, kind) => {
    const app = await sessionApp(t, { storage: await storageUrl(t, kind), routes })
    const browser = new Browser(app)
    await browser.get('/keep')
    const before = browser.clone()
    await browser.get('/become')
    t.not(browser.cookie, before.cookie)
    t.same((await before.get('/kept')).json(), { value: null }, 'the id from before is worth nothing')
    t.same((await browser.get('/kept')).json(), { value: 'the-plain-text' })
    t.equal((await app.sessions.list('eve')).length, 1, 'and it is in the list of the user')
    const logged = browser.clone()
    await browser.get('/forget')
    t.not(browser.cookie, logged.cookie)
    t.same(await app.sessions.list('eve'), [])
    t.same((await browser.get('/kept')).json(), { value: 'the-plain-text' })
  }),
)

t.test('update() loses no change, however many requests are at work', (t) =>
  onEveryStorage(t, async (t, kind) => {
    const app = await sessionApp(t, { storage: await storageUrl(t, kind), routes })
    const browser = new Browser(app)
    await browser.login()
    const answers = await Promise.all(Array.from({ length: 12 }, () => browser.clone().get('/count')))
    t.same(
      answers.map((answer) => answer.json().counter).sort((a, b) => a - b),
      [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12],
    )
  }),
)

t.test(
  'encrypted sessions: nothing of them is readable, keys can be changed, a lost key is a lost session',
  async (t) => {
    const url = await storageUrl(t, 'redis')
    const boot = (encryption: string | string[]) => sessionApp(t, { storage: url, routes, session: { encryption } })
    const one = await boot(KEY)
    const browser = new Browser(one, { 'user-agent': 'a-telling-name' })
    await browser.login()
    await browser.get('/keep')
    const dump = async (app: FastifyInstance) => {
      if (app.storage.kind !== 'redis') throw new Error(app.storage.kind)
      const { client } = app.storage.client.servers
      const keys = await client.keys('fs:session:s:*')
      return JSON.stringify(await Promise.all(keys.map(async (key) => [key, await client.get(key)])))
    }
    const before = await dump(one)
    for (const word of ['the-plain-text', 'a-telling-name', '127.0.0.1', '"ada"']) t.notMatch(before, word)
    const token = browser.cookie.slice('sid='.length, 'sid='.length + 45)
    t.notMatch(before, token, 'nor is the token there')
    t.match(await one.sessions.list('ada'), [{ userAgent: 'a-telling-name' }])

    const two = await boot([NEXT_KEY, KEY])
    const onTwo = new Browser(two)
    onTwo.cookies = browser.cookies
    t.same((await onTwo.get('/kept')).json(), { value: 'the-plain-text' })
    await onTwo.get('/count')
    const three = await boot(NEXT_KEY)
    const onThree = new Browser(three)
    onThree.cookies = new Map(browser.cookies)
    t.same((await onThree.get('/kept')).json(), { value: 'the-plain-text' }, 'the write sealed all of it anew')
    const four = await boot('a secret that sealed nothing, but long')
    const onFour = new Browser(four)
    onFour.cookies = new Map(browser.cookies)
    t.equal((await onFour.get('/profile')).statusCode, 401)
  },
)

t.test('an async handler that sends and returns nothing does not end the process', async (t) => {
  const app = await sessionApp(t, { storage: await storageUrl(t, 'redis'), routes })
  const failures: unknown[] = []
  const onFailure = (error: unknown) => failures.push(error)
  process.on('uncaughtException', onFailure)
  t.teardown(() => process.off('uncaughtException', onFailure))
  await app.listen({ port: 0, host: '127.0.0.1' })
  const response = await fetch(`http://127.0.0.1:${(app.server.address() as { port: number }).port}/twice`)
  t.equal(response.status, 200)
  t.equal(await response.text(), 'hello')
  await delay(50)
  t.same(failures, [])
})

t.test('a Redis that hangs is a 503 within the deadline, and soon at once', async (t) => {
  const redis = await startRedis(t)
  const app = await sessionApp(t, { storage: redis.url, routes })
  const browser = new Browser(app)
  await browser.login()
  redis.process().kill('SIGSTOP')
  t.teardown(() => redis.process().kill('SIGCONT'))
  const started = Date.now()
  const first = await Promise.all(Array.from({ length: 6 }, () => browser.clone().get('/profile')))
  t.ok(Date.now() - started < 3_000, `${Date.now() - started} ms`)
  for (const response of first) t.match(response, { statusCode: 503, headers: { 'set-cookie': undefined } })
  const again = Date.now()
  t.match(await browser.get('/profile'), { statusCode: 503, headers: { 'retry-after': '1' } })
  t.ok(Date.now() - again < 900, 'nobody waits a deadline for a store that is known to hang')
  redis.process().kill('SIGCONT')
  let status = 503
  for (let attempt = 0; attempt < 50 && status === 503; attempt++) {
    await delay(100)
    status = (await browser.get('/profile')).statusCode
  }
  t.equal(status, 200)
})

t.test("a store of one's own that never answers is a 503 within the option's deadline", async (t) => {
  const store = new MemorySessionStore()
  const app = await sessionApp(t, { routes, session: { store, deadline: 200 } })
  // The deadline keeps no process alive; a server that listens does.
  await app.listen({ port: 0, host: '127.0.0.1' })
  const browser = new Browser(app)
  await browser.login()
  store.load = () => new Promise(() => {})
  t.match((await browser.get('/profile')).json(), { status: 503, code: 'STATEFUL_STORAGE_UNAVAILABLE' })
})

t.test('a record that cannot be read is no session, and disturbs nobody else', async (t) => {
  const store = new MemorySessionStore()
  const app = await sessionApp(t, { routes, session: { store } })
  const [first, second] = [new Browser(app), new Browser(app)]
  for (const browser of [first, second]) await browser.get('/keep')
  const load = store.load.bind(store)
  for (const broken of [{ secretValue: '{' }, { secretValue: '{', cookie: '{}' }, { sessionId: '1' }]) {
    store.load = async (id, now) => ({ ...((await load(id, now)) as StoredSession), fields: broken })
    const { statusCode, body } = await first.get('/kept')
    t.match({ statusCode, body }, { statusCode: 200, body: /{"value":null}/ }, 'nor is a name of the shell taken over')
  }
  t.ok((await app.sessions.stats()).unreadable > 0, 'and it is counted')
  store.load = load
  t.same((await second.get('/kept')).json(), { value: 'the-plain-text' })
})

t.test('the number of sessions of a user can be limited', async (t) => {
  for (const onLimit of ['evict', 'refuse'] as const) {
    const app = await sessionApp(t, { session: { maxSessions: 2, onLimit } })
    const browsers = [1, 2, 3].map(() => new Browser(app))
    const statuses: number[] = []
    for (const browser of browsers) statuses.push((await browser.login()).statusCode)
    t.same(statuses, onLimit === 'evict' ? [200, 200, 200] : [200, 200, 409])
    t.equal((await app.sessions.list('ada')).length, 2)
    t.equal((await browsers[1]?.login())?.statusCode, 200, 'a new login in a session takes no further place')
  }
})

t.test('a Redis that evicts is no place for sessions', async (t) => {
  const redis = await startRedis(t, ['--maxmemory-policy', 'allkeys-lru'])
  const boot = async (onEviction?: 'warn') => {
    const app = Fastify()
    t.teardown(() => app.close())
    await app.register(storage, { storage: redis.url })
    await app.register(session, { secret: SECRET, ...(onEviction ? { onEviction } : {}) })
  }
  await t.rejects(boot(), { code: 'STATEFUL_INVALID_OPTION', message: /allkeys-lru.*noeviction/ })
  await t.resolves(boot('warn'))
})

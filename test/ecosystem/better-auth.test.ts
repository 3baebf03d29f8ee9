/** better-auth with its secondary storage on the cache. */
import { betterAuth } from 'better-auth'
import { memoryAdapter } from 'better-auth/adapters/memory'
import t, { type Test } from 'tap'
import { betterAuthStorage } from '../../plugins/cache/adapters/index.ts'
import { startRedis } from '../fixtures/redis-server.ts'
import { onEveryStorage, openTestStorage, storageUrl } from '../fixtures/storages.ts'
import { startCache } from '../plugins/cache/fixture.ts'

type Tables = Parameters<typeof memoryAdapter>[0]
const noTables = (): Tables => ({ user: [], session: [], account: [], verification: [] })

/** The storage of one instance, and another one where there can be. */
async function openSecondary(t: Test, url: string) {
  const storage = await openTestStorage(t, url)
  const cache = (await startCache(t, storage)).namespace('auth')
  return betterAuthStorage(cache, storage)
}

function openAuth(secondaryStorage: Awaited<ReturnType<typeof openSecondary>>, tables: Tables, limit = false) {
  return betterAuth({
    baseURL: 'http://localhost',
    secret: 'a secret of the test, which is long enough',
    database: memoryAdapter(tables),
    secondaryStorage,
    emailAndPassword: { enabled: true },
    rateLimit: { enabled: limit, storage: 'secondary-storage', window: 60, max: 3 },
    telemetry: { enabled: false },
    logger: { level: 'error' },
  })
}

function browser(auth: ReturnType<typeof openAuth>) {
  let cookie = ''
  return {
    take: (other: string) => (cookie = other),
    cookie: () => cookie,
    async ask(path: string, body?: object) {
      const response = await auth.handler(
        new Request(`http://localhost/api/auth${path}`, {
          method: body ? 'POST' : 'GET',
          headers: { 'content-type': 'application/json', origin: 'http://localhost', cookie },
          ...(body ? { body: JSON.stringify(body) } : {}),
        }),
      )
      const set = response.headers.getSetCookie().map((each) => each.split(';')[0] ?? '')
      if (set.length > 0) cookie = set.join('; ')
      const text = await response.text()
      return { status: response.status, body: text ? JSON.parse(text) : undefined }
    },
  }
}

const ADA = { email: 'ada@example.org', password: 'correct horse battery', name: 'Ada' }

t.test('sign up, a session that lies in the secondary storage alone, sign out', (t) =>
  onEveryStorage(t, async (t, kind) => {
    const url = await storageUrl(t, kind)
    const tables = noTables()
    const auth = openAuth(await openSecondary(t, url), tables)
    const laptop = browser(auth)
    t.equal((await laptop.ask('/sign-up/email', ADA)).status, 200)
    t.strictSame(tables.session, [], 'the database has no session')
    t.match((await laptop.ask('/get-session')).body, { user: { email: ADA.email } })

    const phone = browser(auth)
    t.equal((await phone.ask('/sign-in/email', ADA)).status, 200)
    t.equal((await phone.ask('/list-sessions')).body.length, 2)
    if (kind === 'redis') {
      const second = browser(openAuth(await openSecondary(t, url), tables))
      second.take(phone.cookie())
      t.match((await second.ask('/get-session')).body, { user: { email: ADA.email } }, 'another instance knows it')
    }
    const cookie = phone.cookie()
    t.equal((await phone.ask('/sign-out', {})).status, 200)
    phone.take(cookie)
    t.equal((await phone.ask('/get-session')).body, null, 'its cookie is worth nothing any more')
    t.match((await laptop.ask('/get-session')).body, { user: { email: ADA.email } })
    t.equal((await laptop.ask('/list-sessions')).body.length, 1)
  }),
)

t.test('its rate limit counts in the secondary storage', (t) =>
  onEveryStorage(t, async (t, kind) => {
    const auth = openAuth(await openSecondary(t, await storageUrl(t, kind)), noTables(), true)
    const statuses: number[] = []
    for (let i = 0; i < 5; i++) {
      const headers = { 'x-forwarded-for': '192.0.2.1' }
      statuses.push((await auth.handler(new Request('http://localhost/api/auth/get-session', { headers }))).status)
    }
    t.strictSame(statuses, [200, 200, 200, 429, 429])
  }),
)

t.test('values, ends and counts', (t) =>
  onEveryStorage(t, async (t, kind) => {
    const secondary = await openSecondary(t, await storageUrl(t, kind))
    t.equal(await secondary.get('none'), null)
    for (const value of ['', 'text', '{"a":1}', 'ü\u0000']) {
      await secondary.set('k', value)
      t.equal(await secondary.get('k'), value)
    }
    await secondary.set('short', 'x', 0.02)
    await secondary.set('k', 'x', 0)
    t.equal(await secondary.get('k'), null, 'over already')
    const long = 'x'.repeat(1_000)
    await secondary.set(long, 'long key', 60)
    t.equal(await secondary.get(long), 'long key')
    await new Promise((resolve) => setTimeout(resolve, 40))
    t.equal(await secondary.get('short'), null)
    t.strictSame([await secondary.increment('n', 60), await secondary.increment('n', 60)], [1, 2])
    await secondary.increment('soon', 0.03)
    await new Promise((resolve) => setTimeout(resolve, 50))
    t.equal(await secondary.increment('soon', 60), 1, 'a fixed window')
    const counted = await Promise.all(Array.from({ length: 50 }, () => secondary.increment('many', 60)))
    t.equal(new Set(counted).size, 50)
  }),
)

t.test('of many who take a value at once, on two instances, one gets it', async (t) => {
  const url = await storageUrl(t, 'redis')
  const instances = [await openSecondary(t, url), await openSecondary(t, url)] as const
  for (let round = 0; round < 20; round++) {
    await instances[0].set('token', `${round}`, 60)
    // Both know it, in their first level too.
    for (const each of instances) t.ok(await each.get('token'))
    const takers = Array.from({ length: 10 }, (_, i) => instances[i % 2] as (typeof instances)[0])
    const taken = (await Promise.all(takers.map((each) => each.getAndDelete('token')))).filter(
      (value) => value !== null,
    )
    t.strictSame(taken, [`${round}`])
  }
})

t.test('without Redis nobody is logged in, and what cannot be stored is an error', async (t) => {
  const redis = await startRedis(t)
  const secondary = await openSecondary(t, redis.url)
  await redis.kill()
  t.equal(await secondary.get('k'), null)
  await t.rejects(secondary.set('k', 'v'), { code: 'STATEFUL_CACHE_STORE_UNAVAILABLE' })
  await t.rejects(secondary.delete('k'), { code: 'STATEFUL_CACHE_STORE_UNAVAILABLE' })
  await t.rejects(secondary.increment('k', 1), { code: 'STATEFUL_STORAGE_UNAVAILABLE' })
})

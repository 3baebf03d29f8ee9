import fastifyCookie from '@fastify/cookie'
import fastifySession from '@fastify/session'
import Fastify from 'fastify'
import t from 'tap'
import { ExpressStore, sessionStoreOn } from '../../../../express.ts'
import { SessionEngine } from '../../../../plugins/session/engine.ts'
import type { OpenSession } from '../../../../plugins/session/record.ts'
import { ManualClock } from '../../../../plugins/support/manual-clock.ts'
import { SECRET } from '../../../fixtures/session-app.ts'
import { onEveryStorage, openTestStorage, storageUrl } from '../../../fixtures/storages.ts'
import { POLICY } from '../world.ts'

t.test('the contract of express-session, by promise and by callback', (t) =>
  onEveryStorage(t, async (t, kind) => {
    const clock = new ManualClock()
    const storage = await openTestStorage(t, await storageUrl(t, kind))
    const store = new ExpressStore({ store: sessionStoreOn(storage), clock })
    const later = (ms: number) => new Date(clock.now() + ms)
    await store.set('123', { foo: 'bar', cookie: { originalMaxAge: null } })
    t.same(await store.get('123'), { foo: 'bar', cookie: { originalMaxAge: null } })
    t.equal(await store.get('124'), null)
    await store.set('123', { more: 1, cookie: {} })
    t.same(await store.get('123'), { more: 1, cookie: {} }, 'a set replaces')
    await store.set('456', { cookie: { expires: later(60_000) } })
    t.equal(await store.length(), 2)
    t.equal((await store.ids())?.length, 2)
    t.notOk((await store.ids())?.includes('123'), 'the ids themselves are not kept')
    t.same(Object.values((await store.all()) ?? {}).length, 2)
    await store.touch('456', { cookie: { expires: later(90_000) } })
    clock.advance(60_000)
    t.match(await store.get('456'), { cookie: {} })
    clock.advance(30_000)
    t.equal(await store.get('456'), null)
    await store.set('123', { cookie: { expires: later(-1) } })
    t.equal(await store.get('123'), null, 'one that has expired is destroyed')
    await store.set('789', { a: 1, cookie: {} })
    await store.destroy('789')
    await store.set('789', { a: 2, cookie: {} })
    t.equal(await store.get('789'), null, 'a slow request does not bring it back')
    await store.set('abc', { a: 1, cookie: {} })
    await store.clear()
    t.equal(await store.length(), 0)

    const called = await new Promise((resolve, reject) =>
      store.set('def', { cookie: {} }, (error) =>
        error ? reject(error) : store.get('def', (_, found) => resolve(found)),
      ),
    )
    t.same(called, { cookie: {} })
    const failed = await new Promise((resolve) => {
      const broken = sessionStoreOn(storage)
      broken.load = () => Promise.reject(new Error('gone'))
      new ExpressStore({ store: broken }).get('x', resolve)
    })
    t.match(failed, { code: 'STATEFUL_STORAGE_UNAVAILABLE', cause: { message: 'gone' } })
  }),
)

t.test('a cookie whose end is no time does not keep its session from being stored', (t) =>
  onEveryStorage(t, async (t, kind) => {
    const storage = await openTestStorage(t, await storageUrl(t, kind))
    const store = new ExpressStore({ store: sessionStoreOn(storage) })
    const ends = [Number.NaN, Infinity, -Infinity, 1e300, 'soon', '60000', {}, true, null, undefined]
    const cookies = [
      ...ends.map((originalMaxAge) => ({ originalMaxAge })),
      ...[new Date(Number.NaN), new Date(8.64e15), 'never', true, 5].map((expires) => ({ expires })),
      { expires: new Date(Number.NaN), originalMaxAge: Number.NaN },
    ]
    for (const [i, cookie] of cookies.entries()) {
      // As express-session's own: what is kept of it is said by `toJSON`.
      const session = { n: i, cookie: { expires: null, ...(cookie as object), toJSON: () => ({ expires: null }) } }
      await store.set(`s${i}`, session)
      await store.touch(`s${i}`, session)
      const past = 'originalMaxAge' in cookie && cookie.originalMaxAge === -Infinity
      t.equal((await store.get<{ n: number }>(`s${i}`))?.n, past ? undefined : i, `${i}`)
    }
  }),
)

t.test('the life of sessions that connect-redis is tested with', (t) =>
  onEveryStorage(t, async (t, kind) => {
    const clock = new ManualClock()
    const storage = await openTestStorage(t, await storageUrl(t, kind))
    const store = new ExpressStore({ store: sessionStoreOn(storage), clock })
    const lives = async (sid: string) => (await store.get(sid)) !== null
    const later = (seconds: number) => new Date(clock.now() + seconds * 1_000)
    await store.clear()
    const session = { foo: 'bar', cookie: { originalMaxAge: null } }
    await store.set('123', session)
    t.same(await store.get('123'), session)
    await store.set('456', { cookie: { originalMaxAge: null, expires: later(60) } })
    await store.touch('456', { cookie: { originalMaxAge: null, expires: later(90) } })
    t.equal(await store.length(), 2)
    clock.advance(89_999)
    t.ok(await lives('456'))
    clock.advance(1)
    t.notOk(await lives('456'), 'neither sooner nor later than touched')
    clock.advance(86_400_000 - 90_001)
    t.ok(await lives('123'))
    clock.advance(1)
    t.notOk(await lives('123'), 'a day, when the cookie says nothing')

    const many = Array.from({ length: 100 }, (_, n) => `s${n}`)
    await Promise.all(many.map((sid) => store.set(sid, { cookie: { expires: later(1) } })))
    t.equal(await store.length(), many.length)
    t.equal(Object.keys((await store.all()) ?? {}).length, many.length)
    await store.clear()
    t.equal(await store.length(), 0)
    await store.set('789', { cookie: { originalMaxAge: null, expires: later(60) } })
    t.equal(await store.length(), 1)
    await store.set('789', { cookie: { originalMaxAge: null, expires: later(-60) } })
    t.equal(await store.length(), 0, 'setting one that has expired is destroying it')
  }),
)

t.test('a use that the plugin records counts, although the cookie that is stored says otherwise', (t) =>
  onEveryStorage(t, async (t, kind) => {
    const clock = new ManualClock()
    const shared = sessionStoreOn(await openTestStorage(t, await storageUrl(t, kind)))
    const store = new ExpressStore({ store: shared, clock })
    const engine = new SessionEngine({ store: shared, clock, ...POLICY })
    const expires = new Date(clock.now() + 60_000)
    await store.set('a', { n: 1, cookie: { originalMaxAge: 60_000, expires } })
    clock.advance(50_000)
    const open = (await engine.open('a')) as OpenSession
    await engine.save(open, open.texts, { idle: 60_000 })
    clock.advance(59_999)
    t.match(await store.get('a'), { n: 1, cookie: { originalMaxAge: 60_000 } })
    clock.advance(1)
    t.equal(await store.get('a'), null)
  }),
)

t.test('plain @fastify/session keeps its sessions in it', async (t) => {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(fastifyCookie)
  await app.register(fastifySession, {
    secret: SECRET,
    store: new ExpressStore() as NonNullable<Parameters<typeof fastifySession>[1]>['store'] & object,
    cookie: { secure: false },
  })
  app.get('/', async ({ session }) => {
    session.counter = (session.counter ?? 0) + 1
    return { counter: session.counter }
  })
  const first = await app.inject('/')
  const cookies = Object.fromEntries(first.cookies.map(({ name, value }) => [name, value]))
  t.same((await app.inject({ url: '/', cookies })).json(), { counter: 2 })
})

import Fastify from 'fastify'
import t from 'tap'
import { ExpressStore } from '../../../plugins/session/compat/express-store.ts'
import { MemorySessionStore, session } from '../../../plugins/session/index.ts'
import { sessionStoreOn } from '../../../plugins/session/stores/on-storage.ts'
import { ManualClock } from '../../../plugins/support/manual-clock.ts'
import { Browser, SECRET } from '../../fixtures/session-app.ts'
import { onEveryStorage, openTestStorage, storageUrl } from '../../fixtures/storages.ts'
import { loggedIn, MINUTE, POLICY, start } from './world.ts'

const HOUR = 60 * MINUTE
/** No sweep runs by itself: what is seen is seen by a request. */
const options = { sweep: '1000d' }

t.test('a session that was seen expired stays so when the clock goes back', (t) =>
  onEveryStorage(t, async (t, kind) => {
    const world = await start(t, await storageUrl(t, kind), options)
    const { app, clock } = world
    const idle = await loggedIn(world, 'idle')
    const handle = (await app.sessions.list('idle'))[0]?.handle ?? ''
    clock.jump(POLICY.idle)
    t.equal((await idle.clone().get('/me')).statusCode, 401, 'expired')
    // Whatever is asked first after the jump, and by whom.
    const first: (() => Promise<unknown>)[] = [
      () => idle.clone().get('/me'),
      () => app.sessions.count(),
      () => app.sessions.list('idle'),
      () => app.sessions.get(handle),
      () => app.sessions.update(handle, {}),
      () => app.sessions.revoke(handle),
      () => loggedIn(world, 'other'),
    ]
    for (const ask of first) {
      clock.jump(-POLICY.idle)
      await ask()
      t.equal((await idle.clone().get('/me')).statusCode, 401)
      t.equal(await app.sessions.get(handle), undefined)
      t.same(await app.sessions.list('idle'), [])
      t.equal(await app.sessions.revoke(handle), false)
      t.equal(await app.sessions.update(handle, {}), undefined)
      t.equal((await app.sessions.stats()).total, await app.sessions.count())
      clock.jump(POLICY.idle)
      t.equal((await idle.clone().get('/me')).statusCode, 401)
    }
    t.equal((await app.sessions.stats()).expired >= 1, true)
  }),
)

t.test('nobody need have asked for it: that time has passed is enough', (t) =>
  onEveryStorage(t, async (t, kind) => {
    const world = await start(t, await storageUrl(t, kind), options)
    const { app, clock } = world
    const one = await loggedIn(world, 'one')
    const two = await loggedIn(world, 'two')
    clock.jump(POLICY.idle - 1)
    const three = await loggedIn(world, 'three')
    clock.jump(2)
    await app.sessions.count()
    clock.jump(-POLICY.idle)
    t.equal((await one.get('/me')).statusCode, 401)
    t.equal((await two.get('/me')).statusCode, 401)
    t.equal((await three.get('/me')).statusCode, 200, 'what had not expired lives on')
    t.equal(await app.sessions.count(), 1)
  }),
)

t.test('the absolute end stays, too', (t) =>
  onEveryStorage(t, async (t, kind) => {
    const world = await start(t, await storageUrl(t, kind), options)
    const { app, clock } = world
    const ada = await loggedIn(world)
    for (let used = 0; used < POLICY.absolute - POLICY.idle; used += 20 * MINUTE) {
      clock.jump(20 * MINUTE)
      t.equal((await ada.get('/me')).statusCode, 200)
    }
    clock.jump(HOUR)
    t.equal((await ada.clone().get('/me')).statusCode, 401)
    clock.jump(-2 * HOUR)
    t.equal((await ada.clone().get('/me')).statusCode, 401)
    t.equal(await app.sessions.count(), 0)
    const again = await loggedIn(world)
    t.equal((await again.get('/me')).statusCode, 200, 'a new login works at once')
    clock.jump(POLICY.idle)
    t.equal((await again.get('/me')).statusCode, 401, 'and ends at its time')
  }),
)

t.test('many that expired are all gone, and a login of before the jump is not fresh after it', async (t) => {
  const clock = new ManualClock()
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(session, { secret: SECRET, production: false, clock, ...POLICY, ...options })
  app.get('/login', (request) => request.login({ id: 'ada' }).then(() => 'in'))
  app.get('/fresh', async (request) => {
    request.requireFresh('10m')
    return 'fresh'
  })
  await app.ready()
  for (let n = 0; n < 2_500; n++) await app.sessions.create(`user${n}`)
  clock.jump(POLICY.idle)
  t.equal(await app.sessions.count(), 0)
  clock.jump(-POLICY.idle)
  t.equal(await app.sessions.count(), 0)
  t.equal((await app.sessions.stats()).expired, 2_500)
  const browser = new Browser(app)
  await browser.get('/login')
  clock.jump(-9 * MINUTE)
  t.equal((await browser.get('/fresh')).statusCode, 200, 'a little: clocks of two hosts differ as well')
  clock.jump(-2 * MINUTE)
  t.equal((await browser.get('/fresh')).statusCode, 401)
})

t.test('while the store cannot end what has expired there is no answer rather than a wrong one', async (t) => {
  class Stuck extends MemorySessionStore {
    stuck = false
    override sweep(now: number, limit: number) {
      return this.stuck ? Promise.reject(new Error('stuck')) : super.sweep(now, limit)
    }
  }
  const store = new Stuck()
  const world = await start(t, 'memory:', { ...options, store })
  const { app, clock } = world
  const ada = await loggedIn(world)
  clock.jump(POLICY.idle)
  t.equal(await app.sessions.count(), 0)
  clock.jump(-POLICY.idle)
  store.stuck = true
  for (let n = 0; n < 2; n++) t.equal((await ada.clone().get('/me')).statusCode, 503)
  await t.rejects(app.sessions.count(), { code: 'STATEFUL_STORAGE_UNAVAILABLE' })
  store.stuck = false
  t.equal((await ada.clone().get('/me')).statusCode, 401)
  t.equal(await app.sessions.count(), 0)
})

t.test('the store for express-session keeps it so as well', (t) =>
  onEveryStorage(t, async (t, kind) => {
    const clock = new ManualClock()
    const store = new ExpressStore({
      store: sessionStoreOn(await openTestStorage(t, await storageUrl(t, kind))),
      ttl: HOUR,
      clock,
    })
    const get = (sid: string): Promise<unknown> => store.get(sid) as Promise<unknown>
    await store.set('a', { user: 1 })
    await store.set('b', { cookie: { expires: new Date(clock.now() + MINUTE) } })
    await store.set('c', { cookie: { expires: new Date(clock.now() + 3 * HOUR) } })
    // A session can be told to end earlier by its cookie than the store was told at first.
    await store.set('c', { cookie: { expires: new Date(clock.now() + 2 * MINUTE) } })
    clock.jump(HOUR)
    for (const sid of ['a', 'b', 'c']) t.equal(await get(sid), null, `${sid} has expired`)
    clock.jump(-HOUR)
    for (const sid of ['a', 'b', 'c']) t.equal(await get(sid), null, `${sid} stays so`)
    t.equal(await store.length(), 0)
    t.same(await store.all(), {})
  }),
)

import { setTimeout as delay } from 'node:timers/promises'
import { Redis } from 'ioredis'
import t from 'tap'
import { testApp } from '../fixtures/app.ts'
import { startRedis } from '../fixtures/redis-server.ts'

const SECONDS = 4
/** Commands a second, with the sample of the history that may fall into the time: 140 were sent once. */
const MOST = 6

t.test('an idle instance leaves Redis in peace', async (t) => {
  const redis = await startRedis(t)
  const app = await testApp(t, { storage: redis.url })
  const spaces = Array.from({ length: 10 }, (_, n) => app.state.space(`space-${n}`))
  await Promise.all(spaces.map((space) => space.set('k', 1)))
  for (const name of ['a', 'b', 'c']) await app.cache.namespace(name).set('k', 1)
  for (const name of ['a', 'b', 'c']) t.equal(await app.cache.namespace(name).get('k'), 1)
  // Nobody reads the cache any more, so nobody needs the proof that its first level is current.
  await delay(3_000)

  const admin = new Redis(redis.port, { enableReadyCheck: false })
  const monitor = await admin.monitor()
  t.teardown(() => {
    admin.disconnect()
    monitor.disconnect()
  })
  const sent = new Map<string, number>()
  monitor.on('monitor', (_time: string, [name = '', ...args]: string[], source: string) => {
    if (source === 'lua') return
    const what = name === 'evalsha' ? `a script on ${args[2]}` : name
    sent.set(what, (sent.get(what) ?? 0) + 1)
  })
  await delay(SECONDS * 1_000)
  const looks = sent.get('a script on fs:{state:app}:meta') ?? 0
  t.ok(looks >= SECONDS - 1, `${looks} looks at where all spaces stand: one each second`)
  const total = [...sent.values()].reduce((sum, count) => sum + count, 0)
  t.ok(total <= MOST * SECONDS, `${total / SECONDS} commands a second: ${JSON.stringify(Object.fromEntries(sent))}`)

  // The first read after the rest finds the proof gone and is answered all the same; the next ones need no command.
  const namespace = app.cache.namespace('a')
  t.equal(await namespace.get('k'), 1)
  await delay(100)
  const before = sent.get('mget') ?? 0
  for (let n = 0; n < 20; n++) t.equal(await namespace.get('k'), 1)
  await admin.ping()
  t.equal(sent.get('mget') ?? 0, before, 'served by the first level')
})

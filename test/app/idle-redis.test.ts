import { setTimeout as delay } from 'node:timers/promises'
import { Redis } from 'ioredis'
import t from 'tap'
import { testApp } from '../fixtures/app.ts'
import { eventually } from '../fixtures/eventually.ts'
import { monitor } from '../fixtures/redis-monitor.ts'
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
  t.teardown(() => admin.disconnect())
  const seen = await monitor(t, admin)
  const counts = async () => {
    const sent = new Map<string, number>()
    for (const { name, args, byScript } of await seen()) {
      const what = name === 'evalsha' ? `a script on ${args[2]}` : name
      if (!byScript) sent.set(what, (sent.get(what) ?? 0) + 1)
    }
    return sent
  }
  await delay(SECONDS * 1_000)
  const sent = await counts()
  const looks = sent.get('a script on fs:{state:app}:meta') ?? 0
  t.ok(looks >= SECONDS - 1, `${looks} looks at where all spaces stand: one each second`)
  const total = [...sent.values()].reduce((sum, count) => sum + count, 0)
  t.ok(total <= MOST * SECONDS, `${total / SECONDS} commands a second: ${JSON.stringify(Object.fromEntries(sent))}`)

  // The first read after the rest finds the proof gone and is answered all the same; the next ones need no command.
  const namespace = app.cache.namespace('a')
  t.equal(await namespace.get('k'), 1)
  await eventually(() => namespace.peek('k') === 1)
  await counts()
  for (let n = 0; n < 20; n++) t.equal(await namespace.get('k'), 1)
  t.equal((await counts()).get('mget'), undefined, 'served by the first level')
})

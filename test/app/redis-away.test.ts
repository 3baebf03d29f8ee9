import { setTimeout as wait } from 'node:timers/promises'
import t from 'tap'
import { testApp } from '../fixtures/app.ts'
import { startRedis } from '../fixtures/redis-server.ts'

/** Milliseconds. */
const AWAY = 1_500
const BACK = 10_000

t.test('writers who go on while Redis is away are refused by a code, and go on when it is back', async (t) => {
  const redis = await startRedis(t, ['--appendonly', 'yes', '--appendfsync', 'always'])
  const app = await testApp(t, { storage: redis.url, state: { writeTimeout: AWAY / 2 } })
  const { cache, state, sessions, accounts } = app
  cache.writeBehind('default', async () => {})
  const grace = await accounts.create({ username: 'grace', password: 'the password of grace', role: 'user' })
  const { id } = await sessions.create('grace', {})
  let n = 0
  const writers: Record<string, () => Promise<unknown>> = {
    'a value of state': () => state.set('k', n++),
    'an increment': () => state.increment('counter'),
    'an update': () => state.update('k', () => n++),
    'a deletion of state': () => state.delete(`k${n++}`),
    'an entry of the cache': () => cache.set('k', n++, { tags: ['t'] }),
    'an invalidation': () => cache.invalidateTags(['t']),
    'a write behind': () => cache.setWithDelayedPersist('behind', n++),
    'a session': () => sessions.create('grace', { n: n++ }),
    'a change of a session': () => sessions.update(id, { n: n++ }),
    'an end of sessions': () => sessions.revokeUser(`nobody-${n++}`),
    'an account': () => accounts.update(grace.id, { email: `grace${n++}@example.org` }),
  }
  const refused = new Map<string, Set<string>>()
  const done = new Map<string, number>()
  const end = new AbortController()
  const loops = Object.entries(writers).map(async ([name, write]) => {
    while (!end.signal.aborted) {
      try {
        await write()
        done.set(name, (done.get(name) ?? 0) + 1)
      } catch (error) {
        const codes = refused.get(name) ?? new Set()
        refused.set(name, codes.add((error as { code?: string }).code ?? `${error}`))
      }
      await wait(5)
    }
  })
  const all = async () => {
    done.clear()
    for (const began = performance.now(); done.size < loops.length && performance.now() - began < BACK; ) await wait(20)
    return [...done.keys()].sort()
  }
  t.same(await all(), Object.keys(writers).sort(), 'all write')
  await redis.kill()
  await wait(AWAY)
  t.equal((await app.inject('/health/live')).statusCode, 200)
  t.equal((await app.inject('/health/ready')).statusCode, 503)
  await redis.restart()
  t.same(await all(), Object.keys(writers).sort(), 'all write again')
  end.abort()
  await Promise.all(loops)
  for (const [name, codes] of refused) {
    for (const code of codes) t.match(code, /^STATEFUL_/, `${name}: ${code}`)
  }
  t.same([...refused.keys()].sort(), Object.keys(writers).sort(), 'none was acknowledged all the time')
})

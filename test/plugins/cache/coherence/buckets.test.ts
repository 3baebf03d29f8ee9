/** A namespace of several buckets, as on a Cluster: what is said to all of them, and what happens to one of them. */
import t from 'tap'
import { Breaker } from '../../../../plugins/cache/tier/breaker.ts'
import { placeOf } from '../../../../plugins/cache/tier/buckets.ts'
import { deferred } from '../fixture.ts'
import { Stage, turn } from '../staged-store.ts'

const BUCKETS = 4
const keys = Array.from({ length: 40 }, (_, i) => `user:${i}`)
const bucketOf = (key: string) => `default:${placeOf(key, BUCKETS)}.0`
const inBucket = (bucket: string) => keys.filter((key) => bucketOf(key) === bucket)
const [first, second] = ['default:0.0', 'default:1.0'] as const
const entries = keys.map((key) => [key, key] as const)

const ways = {
  tag: (cache: { invalidateTags(tag: string): Promise<unknown> }) => cache.invalidateTags('x'),
  prefix: (cache: { deleteMatching(pattern: string): Promise<unknown> }) => cache.deleteMatching('user:*'),
  pattern: (cache: { deleteMatching(pattern: string): Promise<unknown> }) => cache.deleteMatching('use?:*'),
  clear: (cache: { clear(): Promise<unknown> }) => cache.clear(),
  delete: (cache: { delete(keys: string[]): Promise<unknown> }) => cache.delete(keys),
}
const options = { prefixes: ['user:'] }

for (const [way, invalidate] of Object.entries(ways)) {
  t.test(`${way} that one bucket does not confirm is an error, and again is done`, async (t) => {
    const stage = new Stage(BUCKETS)
    const { cache, line } = await stage.instance(t, options)
    const { cache: other } = await stage.instance(t, options)
    await cache.setMany(entries, { tags: ['x'] })
    t.equal((await other.getMany(keys)).size, keys.length)
    line.away.add(first)
    await t.rejects(invalidate(cache as never), { code: 'STATEFUL_CACHE_STORE_UNAVAILABLE' })
    await turn()
    t.strictSame([...(await other.getMany(keys)).keys()].sort(), inBucket(first).sort(), 'the others have confirmed it')
    line.away.clear()
    await invalidate(cache as never)
    for (const one of [cache, other]) {
      for (const key of keys) t.equal(one.peek(key), undefined)
      t.equal((await one.getMany(keys)).size, 0)
    }
    t.ok(cache.stats().invalidations === 1)
  })
}

t.test('clear lets the first level go in all buckets and in no other namespace', async (t) => {
  const stage = new Stage(BUCKETS)
  const { cache } = await stage.instance(t)
  const { cache: other } = await stage.instance(t)
  await cache.setMany(entries)
  await other.namespace('b').set('user:1', 'kept')
  await turn()
  t.equal(await other.namespace('b').get('user:1'), 'kept')
  await other.getMany(keys)
  t.equal(other.stats().entries, keys.length + 1)
  await cache.clear()
  for (const key of keys) t.equal(other.peek(key), undefined)
  await turn()
  t.equal(other.stats().entries, 1, 'and its memory')
  t.equal(other.namespace('b').peek('user:1'), 'kept')
})

t.test('a message that is lost costs the first level of its bucket alone', async (t) => {
  const stage = new Stage(BUCKETS)
  const { cache } = await stage.instance(t)
  const { cache: other, line } = await stage.instance(t)
  await cache.setMany(entries)
  await other.getMany(keys)
  line.deaf = true
  const [victim, witness] = inBucket(first) as [string, string]
  await cache.delete(victim)
  line.deaf = false
  await cache.set(witness, 'new')
  for (const key of keys) t.equal(other.peek(key), bucketOf(key) === first ? undefined : key, key)
  await turn()
  t.equal(await other.get(victim), undefined)
  t.equal(await other.get(witness), 'new')
})

t.test('a load in one bucket is not stored when an invalidation reaches another bucket first', async (t) => {
  const stage = new Stage(BUCKETS)
  const { cache } = await stage.instance(t)
  const { cache: other, line } = await stage.instance(t)
  const [here, there] = [inBucket(first)[0] as string, inBucket(second)[0] as string]
  const gate = deferred()
  const load = (key: string) =>
    cache.getOrSet(
      key,
      async () => {
        await gate.promise
        return 'old'
      },
      { tags: ['x'] },
    )
  const loads = [load(here), load(there)]
  await turn()
  // The first bucket has carried it out and its answer is on the way.
  const { held, release } = line.holdAnswer('invalidate')
  const invalidation = other.invalidateTags('x')
  await held
  gate.resolve()
  await Promise.all(loads)
  release()
  await invalidation
  for (const one of [cache, other]) {
    t.equal(await one.get(here), undefined)
    t.equal(await one.get(there), undefined)
  }
})

t.test(
  'a bucket that is away opens its own circuit, that of the same part of other namespaces, and no other',
  async (t) => {
    const stage = new Stage(BUCKETS)
    const { tier, line } = stage.connect()
    const changes: boolean[] = []
    const breaker = new Breaker(tier, {
      ...{ clock: stage.clock, deadline: 100, failures: 3, pause: 1_000, journal: false },
      onChange: (away) => changes.push(away),
    })
    line.away.add(first).add(second)
    for (let i = 0; i < 3; i++) {
      await t.rejects(breaker.get(first, ['k']))
      await t.rejects(breaker.get(second, ['k']))
      await breaker.get('default:2.0', ['k'])
    }
    t.strictSame(changes, [true], 'told once')
    t.not(breaker.awaySince(first), undefined)
    t.not(breaker.awaySince('other:0.7'), undefined)
    t.equal(breaker.awaySince('default:2.0'), undefined)
    t.strictSame(await breaker.get('default:2.0', ['k']), [undefined])
    line.away.clear()
    await stage.pass(1_000)
    await breaker.head('other:0.7')
    t.equal(breaker.awaySince(first), undefined)
    t.strictSame(changes, [true], 'one of them is back')
    await breaker.head(second)
    t.strictSame(changes, [true, false])
  },
)

t.test('hot keys are one bucket, and warm all of them', async (t) => {
  const stage = new Stage(BUCKETS)
  const warming = { keys: 100, interval: 1_000 }
  const { cache } = await stage.instance(t, { warming })
  await cache.setMany(entries)
  await stage.pass(1_000)
  t.equal(cache.stats().warming.remembered, keys.length)
  const { cache: other } = await stage.instance(t, { warming })
  await stage.pass(100)
  for (const key of keys) t.equal(other.peek(key), key)
})

t.test('what is no key is refused before it is looked for in a bucket', async (t) => {
  const { cache } = await new Stage(BUCKETS).instance(t)
  for (const key of [['v'], null, 1, {}] as unknown as string[]) {
    for (const call of [() => cache.get(key), () => cache.getOrSet(key, () => 1), () => cache.set(key, 1)]) {
      await t.rejects(call, { code: 'STATEFUL_INVALID_CACHE_KEY' })
    }
    t.equal(cache.peek(key), undefined)
  }
})

/** Where a key lies: spread evenly, and in every process and version in the same place. */
import slotOf from 'cluster-key-slot'
import fc from 'fast-check'
import t from 'tap'
import { BUCKETS, namespaceOf, partOf, placeOf } from '../../../../plugins/cache/tier/buckets.ts'
import { evenTags } from '../../../../plugins/storage/redis/slots.ts'

const SLOTS = 16_384
const name = fc.stringMatching(/^[\w.-]{1,64}$/)

t.test('each of up to 16 equal shards has its share of the buckets of any namespace', async () => {
  fc.assert(
    fc.property(name, fc.integer({ min: 1, max: BUCKETS }), (namespace, size) => {
      const buckets = evenTags(namespace, BUCKETS)
      const shards = Array.from({ length: size }, (_, shard) =>
        buckets.filter((bucket) => Math.floor((slotOf(bucket) * size) / SLOTS) === shard),
      )
      const least = Math.max(1, Math.floor(BUCKETS / size))
      return new Set(buckets).size === BUCKETS && shards.every(({ length }) => length >= least)
    }),
    { numRuns: 200 },
  )
})

t.test('a bucket tells its namespace and its part of the slots', async (t) => {
  fc.assert(
    fc.property(name, (namespace) =>
      evenTags(namespace, BUCKETS).every(
        (bucket, part) => namespaceOf(bucket) === namespace && partOf(bucket) === `${part}`,
      ),
    ),
    { numRuns: 50 },
  )
  t.equal(namespaceOf('default'), 'default')
  t.equal(partOf('default'), '')
})

t.test('keys of any kind are spread over all buckets', async (t) => {
  const kinds: Record<string, (n: number) => string> = {
    numbers: (n) => `${n}`,
    users: (n) => `user:${n}`,
    hundreds: (n) => `post:${n * 100}:body`,
    letters: (n) => String.fromCodePoint(0x4e00 + n),
    long: (n) => `${'x'.repeat(200)}${n.toString(16).padStart(8, '0')}${'y'.repeat(200)}`,
  }
  for (const [kind, keyOf] of Object.entries(kinds)) {
    const places = Array.from({ length: 8_000 }, (_, n) => placeOf(keyOf(n), BUCKETS))
    const counts = Array.from({ length: BUCKETS }, (_, place) => places.filter((other) => other === place).length)
    t.ok(Math.min(...counts) > 350 && Math.max(...counts) < 650, `${kind}: ${counts}`)
  }
})

t.test('where a key lies never changes', async (t) => {
  t.strictSame(
    ['', 'a', 'user:1', 'user:2', 'ключ', '😀'].map((key) => placeOf(key, BUCKETS)),
    [12, 4, 15, 10, 12, 11],
  )
  t.equal(placeOf('anything', 1), 0)
  t.strictSame(evenTags('default', BUCKETS).slice(0, 3), ['default:0.355', 'default:1.4', 'default:2.437'])
})

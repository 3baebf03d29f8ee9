import t from 'tap'
import { FrequencySketch } from '../../../../plugins/cache/policy/frequency-sketch.ts'
import { keyHash } from '../../../../plugins/cache/policy/key-hash.ts'
import { seededRandom } from '../../../fixtures/random.ts'

const hash = (key: string) => keyHash(key, 1, 2)

t.test('an empty sketch knows nothing and takes no record', async (t) => {
  const sketch = new FrequencySketch()
  sketch.record(hash('k'), 5, 0)
  t.equal(sketch.frequency(hash('k'), 0), 0)
})

t.test('what was recorded is never underestimated, and hardly ever overestimated', async (t) => {
  const sketch = new FrequencySketch()
  sketch.ensure(1_000)
  const random = seededRandom(1).next
  const known = Array.from({ length: 1_000 }, (_, index) => ({
    hash: hash(`k${index}`),
    frequency: 1 + Math.floor(random() * 15),
  }))
  for (const { hash, frequency } of known) sketch.record(hash, frequency, 0)
  const wrong = known.map(({ hash, frequency }) => sketch.frequency(hash, 0) - frequency)
  t.ok(wrong.every((difference) => difference >= 0))
  t.ok(wrong.filter((difference) => difference > 0).length < 50)
})

t.test('keys seen once, however many, lift nobody above 1', async (t) => {
  const sketch = new FrequencySketch()
  sketch.ensure(100)
  for (let i = 0; i < 100_000; i++) sketch.record(hash(`scan${i}`), 1, 0)
  t.equal(sketch.frequency(hash('unknown'), 0), 1)
})

t.test('each generation halves, and a long absence forgets', async (t) => {
  const sketch = new FrequencySketch()
  sketch.ensure(100)
  sketch.record(hash('k'), 13, 0)
  t.equal(sketch.frequency(hash('k'), 1), 6)
  t.equal(sketch.frequency(hash('k'), 3), 1)
  t.equal(sketch.frequency(hash('k'), 4), 0)
  sketch.record(hash('k'), 15, 4)
  t.equal(sketch.frequency(hash('k'), 100), 0)
})

t.test('growing keeps what is known; clear forgets it', async (t) => {
  const sketch = new FrequencySketch()
  sketch.ensure(100)
  for (let i = 0; i < 50; i++) sketch.record(hash(`k${i}`), 9, 3)
  const blocks = sketch.blocks
  sketch.ensure(10_000)
  t.ok(sketch.blocks > blocks)
  for (let i = 0; i < 50; i++) t.ok(sketch.frequency(hash(`k${i}`), 3) >= 9)
  sketch.clear()
  t.equal(sketch.frequency(hash('k1'), 3), 0)
})

t.test('the hash depends on every unit of the key, its length and the seed', async (t) => {
  const keys = ['', '\0', '\0\0', '\0\0\0', 'a', 'ab', 'ba', 'abc', 'abd', 'ab\0', 'ÿ', 'ā', '𝒶', 'user:1', 'user:2']
  t.equal(new Set(keys.map((key) => keyHash(key, 1, 2))).size, keys.length)
  t.not(keyHash('k', 1, 2), keyHash('k', 1, 3))
  t.not(keyHash('k', 1, 2), keyHash('k', 2, 2))
  t.equal(keyHash('k', 1, 2), keyHash('k', 1, 2))
  const buckets = new Array<number>(64).fill(0)
  for (let i = 0; i < 64_000; i++) {
    const bucket = keyHash(`user:${i}`, 1, 2) & 63
    buckets[bucket] = (buckets[bucket] ?? 0) + 1
  }
  t.ok(Math.max(...buckets) < 1_150 && Math.min(...buckets) > 850, 'evenly spread')
})

import fc from 'fast-check'
import t from 'tap'
import { type RemovalReason, TinyLfu, type TinyLfuOptions } from '../../../../plugins/cache/policy/tiny-lfu.ts'
import { seededRandom } from '../../../fixtures/random.ts'

type Removal = [key: string, value: unknown, reason: RemovalReason]

function observed(options: Partial<TinyLfuOptions<unknown>> = {}) {
  const removals: Removal[] = []
  const cache = new TinyLfu<unknown>({
    maxEntries: 4,
    random: seededRandom(1).next,
    onEvict: (key, value, reason) => removals.push([key, value, reason]),
    ...options,
  })
  return { cache, removals }
}

t.test('stores every kind of value and tells a stored null or false from a miss', async (t) => {
  const { cache } = observed()
  const values = [null, false, 0, { a: 1 }]
  values.forEach((value, index) => {
    cache.set(`k${index}`, value, 1)
  })
  values.forEach((value, index) => {
    t.equal(cache.get(`k${index}`), value)
    t.equal(cache.peek(`k${index}`), value)
    t.ok(cache.has(`k${index}`))
  })
  t.equal(cache.get('absent'), undefined)
  t.equal(cache.peek('absent'), undefined)
  t.notOk(cache.has('absent'))
  t.same([...cache.keys()].sort(), ['k0', 'k1', 'k2', 'k3'])
  t.same(new Map(cache), new Map(values.map((value, index) => [`k${index}`, value])))
})

t.test('replacing a value changes the bytes and removes nothing', async (t) => {
  const { cache, removals } = observed({ maxBytes: 100 })
  cache.set('k', 'old', 10)
  cache.set('k', 'new', 30)
  t.equal(cache.get('k'), 'new')
  t.equal(cache.size, 1)
  t.equal(cache.bytes, 30)
  t.same(removals, [])
})

t.test('an entry larger than the whole byte bound is refused and takes the old value with it', async (t) => {
  const { cache, removals } = observed({ maxBytes: 100 })
  cache.set('other', 1, 10)
  cache.set('k', 'old', 10)
  cache.set('k', 'huge', 101)
  t.notOk(cache.has('k'))
  t.equal(cache.bytes, 10)
  t.same(removals, [['k', 'old', 'oversized']])
  cache.set('never', 'huge', Number.POSITIVE_INFINITY)
  t.equal(cache.size, 1)
  t.equal(removals.length, 1, 'what never got in does not leave')
  cache.clear()
  cache.set('k', 'exact', 100)
  t.equal(cache.get('k'), 'exact')
})

t.test('delete and clear say what they removed', async (t) => {
  const { cache, removals } = observed()
  cache.set('a', 1, 1)
  cache.set('b', 2, 1)
  cache.set('c', 3, 1)
  t.ok(cache.delete('a'))
  t.notOk(cache.delete('a'))
  cache.clear()
  t.same(removals, [
    ['a', 1, 'deleted'],
    ['b', 2, 'cleared'],
    ['c', 3, 'cleared'],
  ])
  t.equal(cache.size, 0)
  t.equal(cache.bytes, 0)
  t.same([...cache], [])
})

t.test('what is used often survives a scan', async (t) => {
  const { cache } = observed({ maxEntries: 100 })
  for (let i = 0; i < 50; i++) cache.set(`hot${i}`, i, 1)
  for (let round = 0; round < 3; round++) for (let i = 0; i < 50; i++) cache.get(`hot${i}`)
  for (let i = 0; i < 1_000; i++) cache.set(`scan${i}`, i, 1)
  let hits = 0
  for (let i = 0; i < 50; i++) if (cache.has(`hot${i}`)) hits++
  t.ok(hits >= 48, `${hits} of 50`)
})

t.test('hottest lists the most used keys, hottest first', async (t) => {
  const { cache } = observed({ maxEntries: 1_000 })
  for (let i = 0; i < 15; i++) cache.set(`k${i}`, i, 1)
  for (let i = 0; i < 15; i++) for (let use = 0; use < i; use++) cache.get(`k${i}`)
  t.same(cache.hottest(3), ['k14', 'k13', 'k12'])
  t.equal(cache.hottest(100).length, 15)
  t.same(cache.hottest(0), [])
})

t.test('an onEvict may use the cache', async (t) => {
  let left = 0
  const cache: TinyLfu<number> = new TinyLfu<number>({
    maxEntries: 3,
    random: seededRandom(1).next,
    onEvict(key) {
      if (left++ < 20) cache.set(`again-${left}-${key}`, 1, 1)
    },
  })
  for (let i = 0; i < 4; i++) cache.set(`k${i}`, i, 1)
  t.equal(cache.size, 3)
  t.equal(left, 21)
})

t.test('what onEvict throws reaches the caller, after everybody has been told', async (t) => {
  const told: string[] = []
  const cache = new TinyLfu<number>({
    maxEntries: 3,
    onEvict(key) {
      told.push(key)
      throw new Error(`about ${key}`)
    },
  })
  for (let i = 0; i < 3; i++) cache.set(`k${i}`, i, 1)
  t.throws(() => cache.clear(), /about k0/)
  t.same(told, ['k0', 'k1', 'k2'])
  t.equal(cache.size, 0)
})

t.test('bounds and bytes are checked', async (t) => {
  for (const maxEntries of [0, -1, 1.5, Number.NaN, 2 ** 31]) {
    t.throws(() => new TinyLfu({ maxEntries }), { code: 'STATEFUL_INVALID_OPTION' })
  }
  for (const maxBytes of [0, -1, Number.NaN]) {
    t.throws(() => new TinyLfu({ maxEntries: 1, maxBytes }), { code: 'STATEFUL_INVALID_OPTION' })
  }
  const { cache } = observed()
  for (const bytes of [-1, Number.NaN]) t.throws(() => cache.set('k', 1, bytes), { code: 'STATEFUL_INVALID_OPTION' })
  t.equal(cache.size, 0)
})

t.test('a high bound costs no memory while the cache is empty', async (t) => {
  const before = process.memoryUsage().arrayBuffers
  const caches = Array.from({ length: 20 }, () => new TinyLfu({ maxEntries: 1_000_000 }))
  t.ok(process.memoryUsage().arrayBuffers - before < 1_000_000)
  t.equal(caches.length, 20)
})

const key = fc.integer({ min: 0, max: 40 }).map((n) => `k${n}`)
const bytes = fc.integer({ min: 0, max: 30 })
const operation = fc.oneof(
  { weight: 120, arbitrary: fc.record({ kind: fc.constant('get' as const), key }) },
  { weight: 160, arbitrary: fc.record({ kind: fc.constant('set' as const), key, bytes }) },
  { weight: 20, arbitrary: fc.record({ kind: fc.constant('delete' as const), key }) },
  { weight: 20, arbitrary: fc.record({ kind: fc.constant('peek' as const), key }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('clear' as const) }) },
)

t.test('any history: bounds hold, content is the latest, each removal is told once', async (t) => {
  fc.assert(
    fc.property(
      fc.record({
        maxEntries: fc.integer({ min: 1, max: 30 }),
        maxBytes: fc.oneof(fc.constant(Number.POSITIVE_INFINITY), fc.integer({ min: 1, max: 200 })),
        seed: fc.integer(),
      }),
      fc.array(operation, { minLength: 100, maxLength: 1_000, size: 'max' }),
      ({ maxEntries, maxBytes, seed }, operations) => {
        const model = new Map<string, { value: number; bytes: number }>()
        const removed = (key: string, value: number, reason: RemovalReason) => {
          // The entry that is being set may have been refused at once: then the model does not know it yet.
          const known = model.get(key)
          if (known?.value !== value) throw new Error(`${key}=${value} left (${reason}) but was not there`)
          model.delete(key)
        }
        const cache = new TinyLfu<number>({ maxEntries, maxBytes, random: seededRandom(seed).next, onEvict: removed })
        operations.forEach((operation, step) => {
          switch (operation.kind) {
            case 'get':
            case 'peek':
              equal(cache[operation.kind](operation.key), model.get(operation.key)?.value)
              break
            case 'set':
              if (operation.bytes <= maxBytes) model.set(operation.key, { value: step, bytes: operation.bytes })
              cache.set(operation.key, step, operation.bytes)
              break
            case 'delete': {
              const known = model.has(operation.key)
              equal(cache.delete(operation.key), known)
              break
            }
            case 'clear':
              cache.clear()
              equal(model.size, 0)
          }
          check(cache, model, maxEntries, maxBytes)
        })
      },
    ),
    { numRuns: 150 },
  )
  t.pass()
})

function check(
  cache: TinyLfu<number>,
  model: Map<string, { value: number; bytes: number }>,
  maxEntries: number,
  maxBytes: number,
) {
  let bytes = 0
  for (const [key, entry] of model) {
    equal(cache.peek(key), entry.value)
    bytes += entry.bytes
  }
  equal(cache.size, model.size)
  equal(cache.bytes, bytes)
  if (cache.size > maxEntries || cache.bytes > maxBytes) throw new Error('a bound is exceeded')
  const { window, main } = cache.inspect()
  const listed = [...window, ...main]
  equal(listed.length, model.size)
  for (const key of listed) if (!model.has(key)) throw new Error(`${key} is listed but not there`)
  equal(new Set(listed).size, listed.length)
}

function equal(actual: unknown, expected: unknown) {
  if (!Object.is(actual, expected)) throw new Error(`${actual} instead of ${expected}`)
}

/** What the second level gives back equals what the first one gave, or is refused with the path. */
import { isDeepStrictEqual } from 'node:util'
import { runInNewContext } from 'node:vm'
import fc from 'fast-check'
import t from 'tap'
import type { Cache } from '../../../plugins/cache/index.ts'
import { bytesInMemory, decodeValue, encode, encodeValue } from '../../../plugins/cache/tier/record.ts'
import { onEveryStorage } from '../../fixtures/storages.ts'
import { freshCache } from './fixture.ts'

class User {
  name = 'ann'
}
class Names extends Set<string> {}
class HttpError extends Error {
  statusCode = 404
}
const cycle: Record<string, unknown> = { a: 1 }
cycle['self'] = cycle
const large = new ArrayBuffer(1 << 20)
const nested = (levels: number): unknown => (levels === 0 ? {} : { in: nested(levels - 1) })
const midway = /a/g
midway.test('aa')

const kept: Record<string, unknown> = {
  null: null,
  false: false,
  NaN: Number.NaN,
  '-0': -0,
  '-0 inside': [{ n: -0 }],
  Infinity: Number.NEGATIVE_INFINITY,
  'a bigint': -(2n ** 200n),
  'a lone surrogate': 'a\ud800b',
  'a lone surrogate beside a Map': ['a\ud800b', new Map()],
  'a Date': new Date(-1e13),
  'a RegExp': /a+b/giu,
  'a Map': new Map<unknown, unknown>([
    [{ k: 1 }, new Set([1, Number.NaN])],
    [1, undefined],
  ]),
  bytes: Buffer.from([0, 1, 255]),
  'a slice': Buffer.from(large, 5, 3),
  'typed arrays': [new Uint8Array([1]), new Float64Array(large, 8, 2), new BigInt64Array([-5n]), new Int16Array(2)],
  'an ArrayBuffer': Uint8Array.of(1, 2).buffer,
  'a DataView': new DataView(large, 3, 5),
  errors: [new Error('boom'), new RangeError('a', { cause: new TypeError('b') })],
  'undefined fields': { a: undefined, b: [undefined] },
  // biome-ignore lint/suspicious/noSparseArray: it is what is kept
  holes: [1, , 3],
  'a sparse list': Object.assign([], { 1000: 1 }),
  'a list with fields': 'abc'.match(/b/),
  'no prototype': { query: Object.assign(Object.create(null), { a: 1, b: Object.create(null) }) },
  'a cycle': cycle,
  boxed: [Object(1), Object('s'), Object(true), Object(5n)],
  'own __proto__': JSON.parse('{"__proto__":{"x":1},"constructor":2}'),
  depth: nested(400),
}
const refused: [what: string, value: unknown, message: RegExp][] = [
  ['undefined', undefined, /use null/],
  ['a function', () => 1, /is a function/],
  ['a symbol', Symbol('s'), /is a symbol/],
  ['an instance', { users: [new User()] }, /holds an instance of User at \.users\[0\]/],
  ['a subclass', new Names(), /is an instance of Names/],
  ['a URL', { at: new URL('http://a') }, /an instance of URL at \.at/],
  ['what says its JSON itself', { id: { toJSON: () => 1 } }, /a function at \.id\.toJSON/],
  ['a Promise', { p: Promise.resolve(1) }, /an instance of Promise at \.p/],
  ['a WeakMap', [new WeakMap()], /WeakMap at \[0\]/],
  ['an error with fields', { e: new HttpError('no') }, /HttpError at \.e/],
  ['an error with fields', { e: Object.assign(new Error('no'), { code: 1 }) }, /fields of its own at \.e/],
  ['a field named by a symbol', { a: { [Symbol('k')]: 1 } }, /symbol at \.a/],
  ['a symbol in a Map', new Map([['k', { s: Symbol('x') }]]), /a symbol at \.get\('k'\)\.s/],
  ['a Map with fields', { m: Object.assign(new Map(), { x: 1 }) }, /fields of its own at \.m/],
  ['a RegExp in use', { re: midway }, /RegExp in the middle of a text at \.re/],
  ['shared memory', new Uint8Array(new SharedArrayBuffer(4)), /shared memory/],
  ['depth', nested(5_000), /more than 500 levels at \.in\.in/],
]

/** Two invalid Dates are no different dates; otherwise strict, prototypes and the sign of 0 included. */
const equal = (a: unknown, b: unknown): boolean => isDeepStrictEqual(a, b)

t.test('each kind of value is the same in both levels, or refused by its place', (t) =>
  onEveryStorage(t, async (t, kind) => {
    const cache = await freshCache(t, kind, { l1: { maxEntries: 1 } })
    for (const [what, value] of Object.entries(kept)) {
      await cache.set('k', value)
      t.ok(equal(await fromL2(cache), value), what)
      await cache.delete('k')
      await cache.getOrSet('k', () => value)
      t.ok(equal(await fromL2(cache), value), `${what}, loaded`)
    }
    for (const [what, value, message] of refused) {
      const error = { code: 'STATEFUL_INVALID_CACHE_VALUE', message, statusCode: 400 }
      await t.rejects(cache.set('refused', value), error, what)
      if (value !== undefined)
        await t.rejects(
          cache.getOrSet('refused', () => value),
          error,
          `${what}, loaded`,
        )
      t.equal(await cache.get('refused'), undefined)
    }
  }),
)

/** The value of `k`, after the first level has let it go. */
async function fromL2(cache: Cache): Promise<unknown> {
  for (let i = 0; cache.peek('k') !== undefined && i < 100; i++) await cache.set(`other${i}`, 1)
  return cache.get('k')
}

t.test('the same for whatever is made of them', async (t) => {
  const leaf = fc.oneof(
    fc.anything({
      withBigInt: true,
      withDate: true,
      withMap: true,
      withSet: true,
      withTypedArray: true,
      withSparseArray: true,
      withNullPrototype: true,
      withBoxedValues: true,
    }),
    fc.constantFrom(...Object.values(kept)),
    fc.constantFrom(...refused.map(([, value]) => value)),
  )
  const { value } = fc.letrec<{ value: unknown }>((tie) => ({
    value: fc.oneof(
      { depthSize: 'small' },
      leaf,
      fc.array(tie('value'), { maxLength: 4 }),
      fc.dictionary(fc.string(), tie('value'), { maxKeys: 4 }),
      fc.array(fc.tuple(tie('value'), tie('value')), { maxLength: 3 }).map((pairs) => new Map(pairs)),
      fc.array(tie('value'), { maxLength: 3 }).map((items) => new Set(items)),
    ),
  }))
  let [same, places] = [0, 0]
  fc.assert(
    fc.property(value, (value) => {
      let data: Buffer
      try {
        data = encodeValue(value)
      } catch (error) {
        const { code, message } = error as { code?: string; message: string }
        places++
        return code === 'STATEFUL_INVALID_CACHE_VALUE' && / at [.[]| is /.test(message)
      }
      same++
      return equal(withoutInvalidDates(decodeValue(data)), withoutInvalidDates(value))
    }),
    { numRuns: 3_000 },
  )
  t.ok(same > 500 && places > 200, `${same} the same, ${places} refused`)
})

/** As text, which NaN is equal to; in place, for what was only made to be compared. */
function withoutInvalidDates(value: unknown): unknown {
  const seen = new Set<unknown>()
  const text = (part: unknown): unknown =>
    part instanceof Date && Number.isNaN(part.getTime()) ? 'Invalid Date' : part
  const waiting = [value]
  for (let part = waiting.pop(); part !== undefined || waiting.length > 0; part = waiting.pop()) {
    if (typeof part !== 'object' || part === null || ArrayBuffer.isView(part) || seen.has(part)) continue
    seen.add(part)
    if (Object.isFrozen(part)) continue
    if (part instanceof Map) {
      const pairs = [...part].map((pair) => pair.map(text) as [unknown, unknown])
      part.clear()
      for (const [key, inner] of pairs) part.set(key, inner)
      waiting.push(...pairs.flat())
    } else if (part instanceof Set) {
      const items = [...part].map(text)
      part.clear()
      for (const item of items) part.add(item)
      waiting.push(...items)
    } else {
      for (const [name, inner] of Object.entries(part)) {
        if (text(inner) !== inner) Object.defineProperty(part, name, { value: text(inner), enumerable: true })
        waiting.push(inner)
      }
    }
  }
  return text(value)
}

t.test(
  "with values: 'clone' a copy is what the second level would give, and nothing is told of as trouble of the store",
  async (t) => {
    const cache = await freshCache(t, 'memory', { values: 'clone' })
    for (const [what, value] of Object.entries(kept)) {
      await cache.set('k', value)
      const copy = await cache.get('k')
      t.ok(equal(copy, value), what)
      if (typeof value === 'object' && value !== null) t.not(copy, value)
    }
    for (const [what, value, message] of refused) {
      const error = { code: 'STATEFUL_INVALID_CACHE_VALUE', message }
      await t.rejects(cache.set('refused', value), error, what)
      if (value !== undefined)
        await t.rejects(
          cache.getOrSet('refused', () => value),
          error,
          what,
        )
    }
    t.equal(cache.stats().storeFailures, 0)
  },
)

t.test('plain objects and lists of another realm are plain', async (t) => {
  const value: unknown = runInNewContext('({ list: [1, { a: undefined }] })')
  t.strictSame(decodeValue(encodeValue(value)), { list: [1, { a: undefined }] })
})

t.test('bytes are those that the value keeps alive', async (t) => {
  const size = (value: unknown) =>
    bytesInMemory(encode({ freshUntil: 1, deadAt: 2, cost: 0, stamps: [], value }), value)
  const near = (value: unknown, bytes: number) => {
    const actual = size(value)
    t.ok(actual >= bytes && actual < bytes + 300, `${actual} of ${bytes}`)
  }
  near(Buffer.from(large, 5, 3), 1 << 20)
  near([Buffer.from(large, 5, 3), new Uint8Array(large, 100, 50)], 1 << 20)
  near(new Uint8Array(1_000), 1_000)
  near(new Map([['k', new Uint8Array(5_000)]]), 5_000)
  t.ok(size(new Map(Array.from({ length: 1_000 }, (_, i) => [`key ${i}`, i]))) > 8_000)
  const cache = await freshCache(t, 'memory', { l1: { maxBytes: 3 << 20 } })
  for (let i = 0; i < 10; i++) await cache.set(`k${i}`, Buffer.from(new ArrayBuffer(1 << 20), 5, 3))
  t.ok(cache.stats().bytes <= 3 << 20)
  t.ok(cache.stats().entries <= 2)
})

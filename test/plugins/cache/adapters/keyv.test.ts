import Keyv from 'keyv'
import t from 'tap'
import { Cache, cacheParts, KeyvStore } from '../../../../plugins/cache/index.ts'
import { openStorage } from '../../../../plugins/storage/index.ts'
import { ManualClock } from '../../../../plugins/support/manual-clock.ts'
import { onEveryStorage } from '../../../fixtures/storages.ts'
import { freshCache } from '../fixture.ts'

const DAY = 24 * 3_600_000

async function all<T>(entries: AsyncIterable<T>): Promise<T[]> {
  const list: T[] = []
  for await (const entry of entries) list.push(entry)
  return list
}

t.test('answers as a Keyv store has to', (t) =>
  onEveryStorage(t, async (t, kind) => {
    const store = new KeyvStore((await freshCache(t, kind)).namespace('keyv'))
    t.equal(await store.get('a'), undefined)
    t.equal(await store.set('a', { value: null }), true)
    t.strictSame(await store.get('a'), { value: null })
    t.strictSame(
      await store.setMany([
        { key: 'b', value: 1 },
        { key: 'c', value: null, ttl: 60_000 },
        { key: 'gone', value: undefined },
        { key: 'b', value: 2 },
      ]),
      [true, true, true, true],
    )
    t.strictSame(await store.getMany(['c', 'none', 'b', 'b']), [null, undefined, 2, 2])
    t.strictSame(await store.hasMany(['c', 'none']), [true, false])
    t.strictSame(await store.getMany([]), [])
    t.equal(await store.has('b'), true)
    t.equal(await store.has('c'), true, 'null is a value')
    t.equal(await store.delete('b'), true)
    t.equal(await store.delete('b'), false)
    t.equal(await store.deleteMany(['c', 'none']), true)
    t.equal(await store.deleteMany(['c', 'none']), false)
    t.equal(await store.deleteMany([]), true)
    t.equal(await store.set('a', undefined), true)
    t.equal(await store.get('a'), undefined)
    t.equal(await store.has('a'), false)
    await store.disconnect()
    await store.disconnect()
    t.equal(await store.set('a', 1), true, 'the cache is not its own to end')
  }),
)

t.test('clear empties one namespace, whatever its name is', (t) =>
  onEveryStorage(t, async (t, kind) => {
    const cache = (await freshCache(t, kind)).namespace('keyv')
    const store = new KeyvStore(cache)
    const names = ['one', 'one:nested', 'ones', 'o*', 'o?e', '[a]', 'ü']
    const fill = async () => {
      for (const name of names) await store.set(`${name}:k`, name)
    }
    const left = async () => {
      const values = await store.getMany(names.map((name) => `${name}:k`))
      return names.filter((_, i) => values[i] !== undefined)
    }
    for (const name of names) {
      await fill()
      store.namespace = name
      await store.clear()
      const others = names.filter((other) => other !== name && !other.startsWith(`${name}:`))
      t.strictSame(await left(), others, name)
    }
    await fill()
    store.namespace = undefined
    await store.clear()
    t.strictSame(await left(), [])
    t.equal(await store.delete('one:k'), false, 'what was cleared is not there to be deleted')
    t.strictSame(await all(store.iterator()), [])
  }),
)

t.test('keys may be any text', (t) =>
  onEveryStorage(t, async (t, kind) => {
    const store = new KeyvStore((await freshCache(t, kind)).namespace('keyv'))
    const keys = [
      ...['', ' ', 'a:b:c', '*', 'a?', "'", '"\\', '\u0000', 'ключ/🗝', '__proto__', 'constructor'],
      ...['x'.repeat(512), 'x'.repeat(513), `${'x'.repeat(10_000)}y`, 'x'.repeat(10_001), '\ud800', '\udfff'],
    ]
    for (const namespace of [undefined, 'ns']) {
      store.namespace = namespace
      const full = keys.map((key) => (namespace ? `${namespace}:${key}` : key))
      await store.setMany(full.map((key, i) => ({ key, value: i })))
      t.strictSame(
        await store.getMany(full),
        full.map((_, i) => i),
        'no two of them are one',
      )
      t.equal((await all(store.iterator(namespace))).length, full.length)
      t.equal(await store.delete(full[0] as string), true)
      await store.clear()
      t.ok((await store.getMany(full)).every((value) => value === undefined))
    }
  }),
)

t.test('an entry ends with its time to live, and lasts without one', async (t) => {
  const clock = new ManualClock()
  // Not started: nothing beats while the years go by.
  const store = new KeyvStore(new Cache(await cacheParts(await openStorage('memory:'), { clock }), { clock }))
  const ttls = Object.entries({
    none: undefined,
    zero: 0,
    endless: Number.POSITIVE_INFINITY,
    tiny: 0.25,
    short: 1_000,
    long: 60 * DAY,
  })
  for (const [name, ttl] of ttls) t.equal(await store.set(name, name, ttl), true)
  const left = async () => (await store.getMany(ttls.map(([name]) => name))).filter((value) => value !== undefined)
  t.strictSame(await left(), ['none', 'zero', 'endless', 'tiny', 'short', 'long'])
  clock.advance(1)
  t.strictSame(await left(), ['none', 'zero', 'endless', 'short', 'long'])
  clock.advance(999)
  t.strictSame(await left(), ['none', 'zero', 'endless', 'long'])
  t.equal(await store.has('short'), false)
  t.equal(await store.delete('short'), false, 'what is over is not there')
  clock.advance(59 * DAY)
  t.strictSame(await left(), ['none', 'zero', 'endless', 'long'])
  clock.advance(DAY)
  t.strictSame(await left(), ['none', 'zero', 'endless'])
  clock.advance(1_000 * DAY)
  t.strictSame(await left(), ['none', 'zero', 'endless'])

  await store.set('k', 1)
  t.equal(await store.set('k', 2, -1), true)
  t.equal(await store.get('k'), undefined, 'a negative time is over already, and so is what was there')
  await store.set('k', 1, 1_000)
  await store.set('k', 2)
  clock.advance(2_000)
  t.equal(await store.get('k'), 2, 'the latest write says how long')
})

t.test('values come back as they were, with and without a serializer of Keyv', (t) =>
  onEveryStorage(t, async (t, kind) => {
    const cache = await freshCache(t, kind, { l1: { ttl: 1 } })
    const store = new KeyvStore(cache.namespace('keyv'))
    const values = {
      ...{
        null: null,
        false: false,
        zero: 0,
        minus: -0,
        empty: '',
        text: 'ü\u0000',
        bigint: 9_223_372_036_854_775_807n,
      },
      ...{ date: new Date(1), buffer: Buffer.from([0, 255]), array: [null, [1]], map: new Map([['a', new Set([1])]]) },
    }
    for (const [key, value] of Object.entries(values)) await store.set(key, value)
    await new Promise((resolve) => setTimeout(resolve, 5))
    const found = await store.getMany(Object.keys(values))
    for (const [i, [key, value]] of Object.entries(values).entries()) t.strictSame(found[i], value, key)
    await t.rejects(
      store.set('f', () => {}),
      { code: 'STATEFUL_INVALID_CACHE_VALUE' },
    )

    const plain = new Keyv({ store: new KeyvStore(cache.namespace('plain')), serialize: undefined as never })
    await plain.set('k', { bytes: Buffer.from('x'), n: 1n })
    t.strictSame(await plain.get('k'), { bytes: Buffer.from('x'), n: 1n })
  }),
)

t.test('used as cache-manager uses Keyv', (t) =>
  onEveryStorage(t, async (t, kind) => {
    const cache = await freshCache(t, kind)
    const keyv = new Keyv({ store: new KeyvStore(cache.namespace('manager')), throwOnErrors: true })
    const before = Date.now()
    t.equal(await keyv.set('k', null, 60_000), true)
    // `ttl(key)` is the end of the raw entry, `wrap` takes `undefined` for a miss and nothing else.
    const raw = await keyv.get('k', { raw: true })
    t.equal(raw?.value, null)
    t.ok((raw?.expires ?? 0) >= before + 60_000)
    t.equal(await keyv.get('none', { raw: true }), undefined)
    await keyv.setMany([
      { key: 'a', value: 1 },
      { key: 'b', value: { c: [2] }, ttl: 60_000 },
    ])
    t.strictSame(await keyv.getMany(['a', 'none', 'b']), [1, undefined, { c: [2] }])
    t.equal(await keyv.delete('a'), true)
    t.equal(await keyv.delete('a'), false)
    t.equal(await keyv.has('b'), true)
    await keyv.set('short', 1, 20)
    await new Promise((resolve) => setTimeout(resolve, 30))
    t.equal(await keyv.get('short'), undefined)
    await cache.namespace('other').set('keyv:b', 'other')
    await keyv.clear()
    t.equal(await keyv.get('b'), undefined)
    t.equal(await cache.namespace('other').get('keyv:b'), 'other')
    await keyv.disconnect()
  }),
)

/** A driver as Bentocache wants one, with a prefix as namespace. */
class Driver {
  readonly #cache
  readonly #prefix: string
  readonly #store: KeyvStore

  constructor(cache: ConstructorParameters<typeof KeyvStore>[0], prefix: string) {
    this.#cache = cache
    this.#prefix = prefix
    this.#store = new KeyvStore(cache)
    this.#store.namespace = prefix
  }
  namespace = (name: string) => new Driver(this.#cache, `${this.#prefix}:${name}`)
  get = (key: string) => this.#store.get<string>(`${this.#prefix}:${key}`)
  set = (key: string, value: string, ttl?: number) => this.#store.set(`${this.#prefix}:${key}`, value, ttl)
  delete = (key: string) => this.#store.delete(`${this.#prefix}:${key}`)
  deleteMany = (keys: string[]) => this.#store.deleteMany(keys.map((key) => `${this.#prefix}:${key}`))
  clear = () => this.#store.clear()
  disconnect = () => this.#store.disconnect()
  async pull(key: string): Promise<string | undefined> {
    const value = await this.get(key)
    await this.delete(key)
    return value
  }
}

t.test('used as Bentocache uses a driver', (t) =>
  onEveryStorage(t, async (t, kind) => {
    const cache = (await freshCache(t, kind)).namespace('drivers')
    const driver = new Driver(cache, 'bentocache')
    const stranger = new Driver(cache, 'prefix')
    const users = driver.namespace('users')
    const posts = users.namespace('posts')
    t.equal(await driver.get('k'), undefined)
    t.equal(await driver.set('k', 'root'), true)
    await stranger.set('k', 'stranger')
    await users.set('k', 'users')
    await posts.set('k', 'posts')
    t.strictSame(await Promise.all([driver.get('k'), users.get('k'), posts.get('k')]), ['root', 'users', 'posts'])
    t.strictSame(await Promise.all([driver.get('users:k'), users.get('posts:k')]), ['users', 'posts'])
    t.equal(await driver.pull('k'), 'root')
    t.equal(await driver.pull('k'), undefined)
    t.equal(await driver.delete('k'), false)
    t.equal(await driver.deleteMany([]), true)
    await driver.set('usersAbc', 'mine')
    await users.clear()
    t.strictSame(await Promise.all([users.get('k'), posts.get('k')]), [undefined, undefined])
    t.strictSame(await Promise.all([driver.get('usersAbc'), stranger.get('k')]), ['mine', 'stranger'])
    await users.set('k', 'again')
    await driver.clear()
    t.strictSame(await Promise.all([driver.get('usersAbc'), users.get('k')]), [undefined, undefined])
    t.equal(await driver.delete('usersAbc'), false)
    t.equal(await stranger.get('k'), 'stranger')
    await driver.disconnect()
    await driver.disconnect()
  }),
)

t.test('the iterator tells each entry that is there once', (t) =>
  onEveryStorage(t, async (t, kind) => {
    const cache = (await freshCache(t, kind)).namespace('keyv')
    const store = new KeyvStore(cache)
    const keys = Array.from({ length: 1_200 }, (_, i) => `ns:${i}`)
    await store.setMany(keys.map((key) => ({ key, value: key })))
    await store.setMany([
      { key: 'other:1', value: 1 },
      { key: 'ns:short', value: 1, ttl: 1 },
    ])
    await new Promise((resolve) => setTimeout(resolve, 10))
    const entries = await all(store.iterator('ns'))
    t.equal(entries.length, keys.length)
    t.ok(entries.every(([key, value]) => key === value))
    t.equal((await all(store.iterator())).length, keys.length + 1)
  }),
)

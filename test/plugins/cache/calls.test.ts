/** Keys that nobody has named: of decorated methods and wrapped functions. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import t, { type Test } from 'tap'
import ts from 'typescript'
import { argumentsText, callKey } from '../../../plugins/cache/calls.ts'
import type { Cache } from '../../../plugins/cache/index.ts'
import { keyFault } from '../../../plugins/support/keys.ts'
import { freshCache } from './fixture.ts'

t.test('arguments are told apart by kind and content', async (t) => {
  class Filter {}
  const named = () => 1
  const all: unknown[] = [
    ...[1, '1', 1n, -0, 0, Number.NaN, Number.POSITIVE_INFINITY, null, undefined, true, 'true', 'null', ''],
    ...[[], [[]], [undefined], [null], {}, { a: undefined }, { a: null }, { a: 1 }, { a: '1' }, '{"a":1}'],
    ...[new Date(0), new Date(0).toJSON(), new Date(1), /a/, /a/g, '/a/', new Map([[1, 2]]), new Map([['1', 2]])],
    ...[
      new Map(),
      new Set(),
      new Set([1]),
      new Set([[1]]),
      Buffer.from('a'),
      new Uint8Array([97]),
      new Float32Array(1),
    ],
    ...[new URL('http://a'), new URL('http://b'), 'http://a/', new URLSearchParams('a=1'), new URLSearchParams('a=2')],
    ...[new Error('a'), new Error('a'), new Filter(), new Filter(), named, () => 1, Symbol('s'), Symbol('s')],
    ...[Symbol.for('s'), Symbol.for('t')],
  ]
  const texts = all.map((value) => argumentsText([value]))
  for (const [i, text] of texts.entries()) {
    t.equal(texts.indexOf(text), i, text)
    t.equal(argumentsText([all[i]]), text, 'the same again')
  }
  t.not(argumentsText([1]), argumentsText([1, undefined]))
  t.equal(argumentsText([{ b: 1, a: { d: 1, c: 2 } }]), argumentsText([{ a: { c: 2, d: 1 }, b: 1 }]))
  t.equal(argumentsText([1, 'a', { b: [null, true] }]), '[1,"a",{"b":[null,true]}]', 'JSON for what JSON has')
  const [cycle, other]: Record<string, unknown>[] = [{}, {}]
  Object.assign(cycle as object, { self: cycle })
  Object.assign(other as object, { self: other })
  t.equal(argumentsText([cycle]), argumentsText([other]))
})

t.test('keys fit, whatever the arguments are', async (t) => {
  const keys = ['', 'x'.repeat(600), 'y'.repeat(600), '😀'.repeat(200), 'a\ud800', 'x'.repeat(100_000)].map((text) =>
    callKey('name', [text]),
  )
  t.equal(new Set(keys).size, keys.length)
  for (const key of keys) t.equal(keyFault(key), undefined)
  t.match(keys[1], /^name:#/)
  t.equal(keyFault(callKey('n'.repeat(600), [1])), undefined)
})

const classes = `
export function make(cache) {
  class Users {
    @cache.cached('5m')
    static async find(id) { return 'user ' + id }
    @cache.cached('5m')
    async get(id) { return 'get ' + id }
    @cache.cached({ ttl: '5m', name: 'shared' })
    async named(id) { return 'named ' + id }
    @cache.cached('5m', (id) => { if (id === 0) throw new Error('no key'); return 'k:' + id })
    async keyed(id) { return 'keyed ' + id }
    @cache.invalidatesCache((id) => ['k:' + id, 'list:*'])
    async rename(id) { return 'renamed ' + id }
    @cache.cached('5m')
    async base(id) { return this.constructor.name + id }
  }
  class Orders {
    @cache.cached('5m')
    static async find(id) { return 'order ' + id }
  }
  class Loud extends Users {
    @cache.cached('5m')
    async base(id) { return (await super.base(id)).toUpperCase() }
  }
  const other = (table) => { class Users { @cache.cached('5m') async get(id) { return table + id } } return Users }
  return { Users, Orders, Loud, other }
}
`

/** The classes, compiled with the decorators of one dialect. */
async function compiled(t: Test, cache: Cache, experimentalDecorators: boolean) {
  const folder = await mkdtemp(join(tmpdir(), 'decorators-'))
  t.teardown(() => rm(folder, { recursive: true }))
  const { outputText } = ts.transpileModule(classes, {
    compilerOptions: { target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.ESNext, experimentalDecorators },
  })
  const file = join(folder, 'classes.mjs')
  await writeFile(file, outputText)
  const { make } = await import(pathToFileURL(file).href)
  return make(cache)
}

for (const dialect of ['standard', 'experimental']) {
  t.test(`classes, static methods and classes of the same name are apart (${dialect} decorators)`, async (t) => {
    const cache = await freshCache(t, 'memory')
    const { Users, Orders, Loud, other } = await compiled(t, cache, dialect === 'experimental')
    const users = new Users()
    for (let round = 0; round < 2; round++) {
      t.equal(await Users.find(1), 'user 1')
      t.equal(await Orders.find(1), 'order 1')
      t.equal(await users.get(1), 'get 1')
      t.equal(await users.base(1), 'Users1')
      t.equal(await new Loud().base(1), 'LOUD1', 'an override that calls super')
      t.equal(await users.named(1), 'named 1')
      t.equal(await users.keyed(1), 'keyed 1')
    }
    t.match(cache.stats(), { loads: 8 })
    t.equal(await cache.get('shared:[1]'), 'named 1')
    await cache.set('list:1', 1)
    await users.rename(1)
    t.strictSame(await cache.getMany(['k:1', 'list:1']), new Map())
    const failing = users.keyed(0)
    await t.rejects(failing, { message: 'no key' }, 'it does not throw out of an async method')

    const warnings: Error[] = []
    process.on('warning', (warning) => warnings.push(warning))
    const [Invoices, Customers] = [other('invoice '), other('customer ')]
    for (let round = 0; round < 2; round++) {
      t.equal(await new Invoices().get(1), 'invoice 1')
      t.equal(await new Customers().get(1), 'customer 1', 'of the same name and text')
    }
    await new Promise((resolve) => setImmediate(resolve))
    t.match(warnings, [{ code: 'STATEFUL_CACHE_NAME', message: /Two methods are called 'Users.get'/ }])
    t.equal(warnings.length, 1)
    process.removeAllListeners('warning')
  })
}

t.test('what is no method cannot be decorated', async (t) => {
  const cache = await freshCache(t, 'memory')
  const decorate = cache.cached('1m') as unknown as (...args: unknown[]) => unknown
  const refused = { code: 'STATEFUL_INVALID_OPTION', message: /must decorate a method/ }
  t.throws(() => decorate(undefined, { kind: 'field', name: 'x' }), refused)
  t.throws(() => decorate({}, 'x'), refused)
  t.throws(() => decorate({}, 'x', { get: () => 1 }), refused)
})

t.test('wrapped functions are apart, or have to be named', async (t) => {
  const cache = await freshCache(t, 'memory')
  const [a, b] = [cache.wrap(async (n: unknown) => `a${n}`), cache.wrap(async (n: unknown) => `b${n}`)]
  for (let round = 0; round < 2; round++) t.strictSame([await a(1), await b(1)], ['a1', 'b1'])
  t.equal(await a('1'), 'a1')
  t.equal(cache.stats().loads, 3)
  const of = (table: string) => (id: number) => `${table}${id}`
  const users = cache.wrap(of('user '))
  t.throws(() => cache.wrap(of('order ')), { code: 'STATEFUL_INVALID_OPTION', message: /'name', or 'key'|or 'key'/ })
  const orders = cache.wrap(of('order '), { name: 'orders' })
  t.strictSame([await users(1), await orders(1)], ['user 1', 'order 1'])
  t.equal(await cache.get('orders:[1]'), 'order 1')
  const one = of('one ')
  t.equal(await cache.wrap(one, { name: 'one' })(1), await cache.wrap(one, { name: 'one' })(1))
  await t.rejects(cache.wrap(one, { key: () => '' })(1), { code: 'STATEFUL_INVALID_CACHE_KEY' })
  await t.rejects(
    cache.wrap(one, {
      key: () => {
        throw new Error('no key')
      },
    })(1),
    { message: 'no key' },
  )
})

import t from 'tap'
import { decode, encode, stampsIn, unique } from '../../../../plugins/cache/tier/record.ts'

const stamps = [
  ['', '0:abc'],
  ['t:naïve 🦊', '7:def'],
] as const

t.test('a record comes back as it was, whatever is in its value and its tags', async (t) => {
  const values = [
    { id: 'ü', list: [1, null, 'é🦊'], deep: { yes: true } },
    null,
    0,
    Number.NaN,
    'text',
    new Map([['key', new Date(7)]]),
    { missing: undefined },
    Array(3),
    JSON.parse('{"__proto__": {"own": true}}') as unknown,
  ]
  for (const value of values) {
    const data = encode({ freshUntil: 1.5, deadAt: 2.5, cost: 0.25, stamps, value })
    const record = decode(new Uint8Array(data))
    t.match(record, { freshUntil: 1.5, deadAt: 2.5, cost: 0.25, expired: false, bytes: data.length })
    t.strictSame(record?.stamps, stamps)
    if (typeof value === 'number') t.ok(Object.is(record?.value, value))
    else t.same(record?.value, value)
  }
})

t.test('data that is not whole is a miss', async (t) => {
  const data = encode({ freshUntil: 1, deadAt: 2, cost: 0, stamps, value: { text: 'some' } })
  for (let length = 0; length < data.length; length++) t.equal(decode(data.subarray(0, length)), undefined)
})

t.test('times that are none and stamps that are none are misses', async (t) => {
  const whole = encode({ freshUntil: 1, deadAt: 2, cost: 0, stamps, value: 1 })
  for (const at of [18, 26, 34]) {
    for (const time of [Number.NaN, Number.POSITIVE_INFINITY]) {
      const data = Buffer.from(whole)
      data.writeDoubleLE(time, at)
      t.equal(decode(data), undefined)
    }
  }
  for (const others of [{}, 'text', [1], [['a']], [[1, 2]], null]) {
    const data = encode({ freshUntil: 1, deadAt: 2, cost: 0, stamps: others as never, value: 1 })
    t.equal(decode(data), undefined, JSON.stringify(others))
    t.equal(stampsIn(data), undefined)
  }
})

t.test('what has no form in a store is refused by name, however deep', async (t) => {
  const cycle: unknown[] = []
  cycle.push(cycle, () => 1)
  for (const value of [
    () => 1,
    [Symbol('s')],
    { a: { b() {} } },
    new Map([[1, { f: () => 1 }]]),
    new Set([Symbol('s')]),
    cycle,
  ]) {
    t.throws(() => encode({ freshUntil: 1, deadAt: 2, cost: 0, stamps, value }), {
      code: 'STATEFUL_INVALID_CACHE_VALUE',
    })
  }
})

t.test('no two are the same, also beyond what is drawn at once', async (t) => {
  const made = Array.from({ length: 2_000 }, unique)
  t.equal(new Set(made).size, made.length)
  for (const one of made) t.match(one, /^[\w-]{16}$/)
})

import fc from 'fast-check'
import t from 'tap'
import { LIMIT_RULES } from '../../../../plugins/state/options.ts'
import type { Results } from '../../../../plugins/state/replica/replica.ts'
import { ClientShares } from '../../../../plugins/state/writing/client-shares.ts'
import { readOptions } from '../../../../plugins/support/options.ts'

const limits = readOptions(LIMIT_RULES, undefined, 'limits')
const results = (writes: [key: string, bytes: number | undefined][]): Results =>
  new Map(
    writes.map(([key, bytes]) => [key, bytes === undefined ? undefined : { value: 1, json: '1', revision: 1, bytes }]),
  )

t.test('what a client fills is what it wrote last, also through what is not in the log yet', async (t) => {
  const write = fc.record({
    key: fc.constantFrom('a', 'b', 'c', 'd'),
    bytes: fc.option(fc.integer({ min: 1, max: 100 }), { nil: undefined }),
    client: fc.constantFrom('ada', 'bob', undefined),
    staged: fc.boolean(),
    forgotten: fc.boolean(),
  })
  fc.assert(
    fc.property(fc.array(write, { maxLength: 30 }), (writes) => {
      const shares = new ClientShares()
      const held = new Map<string, { client: string; bytes: number }>()
      const agree = (of: ClientShares, model: typeof held) => {
        for (const client of ['ada', 'bob']) {
          const own = [...model.values()].filter((holding) => holding.client === client)
          const bytes = own.reduce((sum, holding) => sum + holding.bytes, 0)
          t.strictSame(of.of(client), { size: own.length, bytes })
        }
      }
      for (const { key, bytes, client, staged, forgotten } of writes) {
        const model = new Map(held)
        if (bytes !== undefined && client !== undefined) model.set(key, { client, bytes })
        else model.delete(key)
        if (forgotten) {
          shares.forget([{ key }])
          held.delete(key)
        } else if (staged) {
          const above = new ClientShares(shares)
          // Several writes of one key may be on their way.
          above.write(results([[key, 7]]), undefined)
          above.write(results([[key, bytes]]), client)
          agree(above, model)
        } else {
          shares.write(results([[key, bytes]]), client)
          if (bytes !== undefined && client !== undefined) held.set(key, { client, bytes })
          else held.delete(key)
        }
        agree(shares, held)
      }
    }),
  )
})

t.test('a share is a percentage, but never less than 1,000 keys and a megabyte', async (t) => {
  const small = new ClientShares()
  const many = (count: number, bytes: number, from = 0) =>
    results(Array.from({ length: count }, (_, n) => [`k${from + n}`, bytes]))
  const tiny = { ...limits, keys: 1_100, bytes: 2 * 1024 * 1024 }
  small.write(many(1_000, 1), 'ada')
  t.throws(() => small.check('app', 'ada', many(1, 1, 1_000), tiny), {
    code: 'STATEFUL_STATE_LIMIT',
    message: /1000 keys/,
  })
  t.doesNotThrow(() => small.check('app', 'bob', many(1, 1, 1_000), tiny))
  t.doesNotThrow(() => small.check('app', 'ada', many(5, 9), tiny), 'what is there may change')

  const large = new ClientShares()
  large.write(many(16, 1024 * 1024), 'ada')
  t.throws(() => large.check('app', 'ada', many(1, 1, 16), limits), {
    code: 'STATEFUL_STATE_LIMIT',
    message: /16777216 bytes/,
  })
  t.doesNotThrow(() => large.check('app', 'ada', many(1, 1024, 15), limits), 'and become smaller')
})

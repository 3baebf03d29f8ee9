import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import fc from 'fast-check'
import t from 'tap'
import { FirstLevel, type Held } from '../../../../plugins/cache/coherence/first-level.ts'
import type { Cell } from '../../../../plugins/cache/coherence/stamp-mirror.ts'
import { seededRandom } from '../../../fixtures/random.ts'

const NOW = 1_000

const step = fc.oneof(
  fc.record({
    what: fc.constant('set' as const),
    key: fc.integer({ min: 0, max: 30 }),
    bytes: fc.integer({ min: 0, max: 40 }),
    freshFor: fc.integer({ min: -1, max: 1 }),
    staleFor: fc.integer({ min: -1, max: 1 }),
    guard: fc.constantFrom<'none' | 'stands' | 'fell'>('none', 'stands', 'fell'),
  }),
  fc.record({ what: fc.constant('use' as const), key: fc.integer({ min: 0, max: 30 }) }),
  fc.record({ what: fc.constant('delete' as const), key: fc.integer({ min: 0, max: 30 }) }),
  fc.record({ what: fc.constant('clear' as const) }),
)

t.test('an entry has what was last set for its key, whoever had its slot before', async () => {
  fc.assert(
    fc.property(fc.integer(), fc.array(step, { minLength: 50, maxLength: 200 }), (seed, steps) => {
      let evicted = 0
      const level = new FirstLevel({
        maxEntries: 8,
        maxBytes: 100,
        random: seededRandom(seed).next,
        onEvict: () => {
          evicted++
        },
      })
      const stands: Cell = { value: 'now', since: 0 }
      const last = new Map<string, Held>()
      let gone = 0
      for (const [number, step] of steps.entries()) {
        const key = 'key' in step ? `k${step.key}` : ''
        if (step.what === 'set') {
          const held: Held = {
            value: { number },
            freshUntil: NOW + step.freshFor,
            staleUntil: NOW + step.staleFor,
            asOf: number,
            guards:
              step.guard === 'none' ? undefined : [{ cell: stands, value: step.guard === 'stands' ? 'now' : 'before' }],
          }
          last.set(key, held)
          const before = level.size + (level.find(key) < 0 ? 1 : 0)
          level.set(key, held, step.bytes)
          gone += before - level.size
        } else if (step.what === 'use') {
          const slot = level.use(key)
          if (slot >= 0) level.promise(slot)
        } else if (step.what === 'delete') {
          level.delete(key)
          if (level.find(key) >= 0) return false
        } else {
          level.clear()
          if (level.size !== 0) return false
        }
        for (const [key, held] of last) {
          const slot = level.find(key)
          if (slot < 0) continue
          const stood = held.guards?.[0]?.value !== 'before'
          if (level.value(slot) !== held.value || level.asOf(slot) !== held.asOf) return false
          if (level.isFresh(slot, NOW) !== (held.freshUntil > NOW && stood)) return false
          if (level.isUsable(slot, NOW) !== (held.staleUntil > NOW && stood)) return false
        }
      }
      return evicted === gone
    }),
    { numRuns: 200 },
  )
})

t.test('all who ask share the promise of a value, and nobody gets that of another one', async (t) => {
  const level = new FirstLevel({ maxEntries: 2, maxBytes: 100, random: seededRandom(1).next, onEvict() {} })
  const held = (value: unknown): Held => ({
    value,
    freshUntil: NOW,
    staleUntil: NOW,
    asOf: 0,
    guards: undefined,
  })
  level.set('a', held('first'), 1)
  const promise = level.promise(level.find('a'))
  t.equal(level.promise(level.find('a')), promise)
  t.equal(await promise, 'first')
  level.set('a', held('second'), 1)
  t.equal(await level.promise(level.find('a')), 'second')
  level.delete('a')
  level.set('b', held('another'), 1)
  t.equal(await level.promise(level.find('b')), 'another')
})

t.test('what has left is held by nobody', async (t) => {
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as () => void
  const level = new FirstLevel({ maxEntries: 100, maxBytes: 100, random: seededRandom(1).next, onEvict() {} })
  const held = () => {
    const value = { size: 'any' }
    level.set('a', { value, freshUntil: NOW, staleUntil: NOW, asOf: 0, guards: undefined }, 1)
    level.promise(level.find('a'))
    return new WeakRef(value)
  }
  const value = held()
  await new Promise(setImmediate)
  collect()
  t.ok(value.deref())
  level.delete('a')
  await new Promise(setImmediate)
  collect()
  t.equal(value.deref(), undefined)
})

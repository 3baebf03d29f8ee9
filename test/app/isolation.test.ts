/**
 * Parts of keys that come from outside are data, whatever they hold: no name of one namespace, space or user can reach
 * what another one stores, and nothing but text becomes an argument of a command.
 */
import assert from 'node:assert/strict'
import fc from 'fast-check'
import Fastify, { type FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import { stateful } from '../../index.ts'
import { SECRET } from '../fixtures/credentials.ts'
import { onEveryStorage, type StorageKind, storageUrl } from '../fixtures/storages.ts'

/** What separates, escapes, matches or names something in one of the stores, or on the way to them. */
const PIECES = [':', '{', '}', '*', '?', '[', ']', '\\', '/', '..', '%2F', ' ', 'a', 'b', 'ab', '__proto__', 'é', '😀']
const keyOf = (...pieces: string[]) =>
  fc.array(fc.constantFrom(...pieces), { minLength: 1, maxLength: 6 }).map((chosen) => chosen.join(''))
/** Among them the names that the stores use beside a namespace's own. */
const PLACES = ['a', 'a.b', 'a-b', 'v', 'l', 's', 'h', 'bus']
const RUNS = { seed: 1, numRuns: 25 }

interface Place {
  set(key: string, value: string): Promise<unknown>
  delete(key: string): Promise<unknown>
  clear(): Promise<unknown>
}

async function application(t: Test, kind: StorageKind): Promise<FastifyInstance> {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(stateful, { storage: await storageUrl(t, kind), secret: SECRET })
  await app.ready()
  return app
}

/** Random changes of several places; after each run every place holds what was put into it, and nothing else. */
function apart(
  key: fc.Arbitrary<string>,
  placeOf: (name: string) => Place,
  read: (name: string, keys: string[]) => Promise<Map<string, unknown>>,
): Promise<void> {
  const step = fc.record({
    what: fc.constantFrom('set', 'set', 'delete', 'clear'),
    where: fc.constantFrom(...PLACES),
    key,
    value: fc.uuid(),
  })
  const models = new Map(PLACES.map((name) => [name, new Map<string, string>()]))
  return fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 8 }), async (steps) => {
      for (const { what, where, key, value } of steps) {
        const model = models.get(where) as Map<string, string>
        const place = placeOf(where)
        if (what === 'set') {
          await place.set(key, value)
          model.set(key, value)
        } else if (what === 'delete') {
          await place.delete(key)
          model.delete(key)
        } else {
          await place.clear()
          model.clear()
        }
      }
      for (const [name, model] of models) {
        const keys = [...new Set([...steps.map((step) => step.key), ...model.keys()])]
        assert.deepEqual(await read(name, keys), model, name)
      }
    }),
    RUNS,
  )
}

t.test('a name of one namespace, space or user never reaches what is of another', (t) =>
  onEveryStorage(t, async (t, kind) => {
    const { cache, state, sessions } = await application(t, kind)
    await t.resolves(
      apart(
        keyOf(...PIECES, '\r\n', '\0'),
        (name) => cache.namespace(name),
        (name, keys) => cache.namespace(name).getMany(keys),
      ),
      'namespaces of the cache',
    )

    for (const name of PLACES) await state.space(name).ready
    await t.resolves(
      apart(
        keyOf(...PIECES),
        (name) => state.space(name),
        async (name) => new Map(Object.entries(state.space(name).snapshot().state)),
      ),
      'spaces of the state',
    )

    const users = fc.uniqueArray(keyOf(...PIECES, '\r\n', '\0'), { minLength: 2, maxLength: 4 })
    await t.resolves(
      fc.assert(
        fc.asyncProperty(users, async ([ended = '', ...others]) => {
          for (const user of [ended, ...others]) await sessions.create(user)
          assert.equal(await sessions.revokeUser(ended), 1)
          for (const user of others) assert.equal((await sessions.list(user)).length, 1)
          for (const user of others) assert.equal(await sessions.revokeUser(user), 1)
          assert.equal(await sessions.count(), 0)
        }),
        RUNS,
      ),
      'users of the sessions',
    )
  }),
)

t.test('what is no text is refused by name, and never becomes an argument of a command', (t) =>
  onEveryStorage(t, async (t, kind) => {
    const { cache, state, sessions } = await application(t, kind)
    await cache.set('v', 1)
    await state.set('v', 1)
    // ioredis flattens arrays: `set(['v', 'x', 'EX', 77])` would set a ttl, `del(['a', 'b'])` delete two.
    const notText: unknown[] = [['v', 'EX', '77'], [['v']], { toString: () => 'v' }, 77, null, Buffer.from('v'), true]
    for (const value of notText) {
      const name = value as string
      const calls: Record<string, () => unknown> = {
        get: () => cache.get(name),
        set: () => cache.set(name, 1),
        // Of several keys an array is the documented form.
        ...(Array.isArray(value) ? {} : { delete: () => cache.delete(name) }),
        tags: () => cache.set('w', 1, { tags: [name] }),
        invalidateTags: () => cache.invalidateTags([name]),
        deleteMatching: () => cache.deleteMatching(name),
        namespace: () => cache.namespace(name),
        'state.set': () => state.set(name, 1),
        'state.delete': () => state.delete(name),
        'state.space': () => state.space(name),
      }
      for (const [what, call] of Object.entries(calls)) {
        await t.rejects(
          async () => call(),
          { code: /^STATEFUL_/, statusCode: 400 },
          `${what}(${JSON.stringify(value)})`,
        )
      }
      t.equal(await sessions.get(name), undefined)
      t.equal(await sessions.revoke(name), false)
    }
    t.equal(await cache.get('v'), 1, 'what was there is there')
    t.equal(await state.read('v'), 1)
    t.equal(await cache.get('w'), undefined)
  }),
)

import t from 'tap'
import { SessionEngine } from '../../../plugins/session/engine.ts'
import { Sessions } from '../../../plugins/session/index.ts'
import { MemorySessionStore } from '../../../plugins/session/stores/memory.ts'
import { sessionStoreOn } from '../../../plugins/session/stores/on-storage.ts'
import { openStorage } from '../../../plugins/storage/index.ts'
import { ManualClock } from '../../../plugins/support/manual-clock.ts'
import { onEveryStorage, storageUrl } from '../../fixtures/storages.ts'

const POLICY = { idle: 30 * 60_000, absolute: 12 * 3_600_000, touch: 60_000 }

interface Shop {
  cart: string[]
  seen?: number
}

t.test('events tell what became of each session, and the numbers add up', (t) =>
  onEveryStorage(t, async (t, kind) => {
    const storage = await openStorage(await storageUrl(t, kind))
    t.teardown(() => storage.close())
    const clock = new ManualClock()
    const limit = { sessions: 2, action: 'evict' as const }
    const engine = new SessionEngine({ store: sessionStoreOn(storage), clock, ...POLICY, limit })
    const sessions = new Sessions(engine)
    const told: string[] = []
    for (const name of ['created', 'revoked', 'expired', 'rotated'] as const) {
      sessions.on(name, ({ userId, reason }) => told.push(`${name} ${userId}${reason ? ` by ${reason}` : ''}`))
    }
    const first = await sessions.create('ada')
    clock.advance(1)
    const second = await sessions.create('ada')
    clock.advance(1)
    await sessions.create('ada')
    t.same(told.splice(0).sort(), ['created ada', 'created ada', 'created ada', 'revoked ada by evicted'])
    t.equal(await sessions.get(first.id), undefined, 'the least recently used one')
    const open = await engine.open(second.token)
    if (typeof open !== 'object') throw new Error(`${open}`)
    t.equal(engine.isTouchDue(open), false)
    await sessions.destroy(second.id)
    await t.rejects(engine.save(open, { ...open.texts, x: '1' }), { code: 'STATEFUL_SESSION_REVOKED' })
    await sessions.create('grace')
    clock.advance(POLICY.idle)
    await sessions.sweep()
    t.same(told.sort(), ['created grace', 'expired ada', 'expired grace', 'revoked ada by revoked'])
    t.same(await sessions.stats(), {
      total: 0,
      activeUsers: 0,
      averagePerUser: 0,
      created: 4,
      rotated: 0,
      revoked: 2,
      expired: 2,
      saves: 0,
      refusedSaves: 1,
      touches: 0,
      touchesSkipped: 1,
      unreadable: 0,
    })
  }),
)

t.test('who has two sessions counts as one user', async (t) => {
  const sessions = new Sessions(new SessionEngine({ store: new MemorySessionStore(), ...POLICY }))
  for (const user of ['ada', 'ada', 'ada', 'grace']) await sessions.create(user)
  t.match(await sessions.stats(), { total: 4, activeUsers: 2, averagePerUser: 2 })
})

t.test('the data of an instance has the types that it was made with', async (t) => {
  const sessions = new Sessions<Shop>(new SessionEngine({ store: new MemorySessionStore(), ...POLICY }))
  const { id } = await sessions.create('ada', { cart: ['book'] })
  const found = await sessions.get(id)
  const cart: string[] | undefined = found?.data.cart
  t.same(cart, ['book'])
  // @ts-expect-error: no such value
  found?.data.basket
  // @ts-expect-error: of another type
  await sessions.update(id, { cart: 7 }).catch(() => {})
  const updated = await sessions.update(id, ({ seen = 0 }) => ({ seen: seen + 1 }))
  t.equal(updated?.data.seen, 1)
})

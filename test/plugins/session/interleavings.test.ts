import t, { type Test } from 'tap'
import type { SessionStore, StoredSession } from '../../../plugins/session/stores/contract.ts'
import { LmdbSessionStore } from '../../../plugins/session/stores/lmdb.ts'
import { MemorySessionStore } from '../../../plugins/session/stores/memory.ts'
import { RedisSessionStore } from '../../../plugins/session/stores/redis.ts'
import { ownerOf } from '../../../plugins/session/token.ts'
import { openTestStorage, storageUrl } from '../../fixtures/storages.ts'
import { sessionOf } from '../../suites/session-store.ts'

const STEPS = 10_000
/** Operations that are under way at the same time. */
const WIDTH = 8
const USERS = ['ada', 'grace', 'edsger', undefined]
const SEED = Number(process.env['SEED'] ?? 20_260_101)

/** Mulberry32: small, and the same on every machine for the same seed. */
function randomFrom(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296
  }
}

/** What must be true of a session, as far as the answers of the store have told. */
interface Known {
  session: StoredSession
  /** Set when an operation that ends it was answered: from then on it must never be seen again. */
  over: boolean
  /** Keys that a save acknowledged, with the value; each key is written by one save only. */
  keys: Map<string, string>
}

/** Random logins, saves, touches, rotations, revocations and expiries, several at a time; then the whole is checked. */
async function interleave(store: SessionStore) {
  const random = randomFrom(SEED)
  const pick = <T>(list: readonly T[]) => list[Math.floor(random() * list.length)] as T
  let now = Date.UTC(2026, 0, 1)
  const known = new Map<string, Known>()
  const faults = { revived: 0, lostKeys: 0, index: 0 }
  let serial = 0
  const remember = (session: StoredSession, keys = new Map<string, string>()) =>
    known.set(session.id, { session, over: false, keys })
  const fresh = (user: string | undefined) =>
    sessionOf(user, { created: now, seen: now, expires: now + 60_000, ends: now + 600_000, fields: {} })

  async function step() {
    const dice = random()
    const target = pick([...known.values()].slice(-40))
    if (!target || dice < 0.2) {
      const session = fresh(pick(USERS))
      await store.create(session, { now, login: session.owner !== undefined })
      remember(session)
    } else if (dice < 0.6) {
      const wasOver = target.over
      const key = dice < 0.5 ? `k${serial++}` : undefined
      const set = key === undefined ? {} : { [key]: key }
      const at = now
      const { id, owner } = target.session
      const outcome = await store.save(id, owner, { set, remove: [], seen: at, expires: at + 60_000 }, at)
      if (outcome === 'saved' && wasOver) faults.revived += 1
      if (outcome === 'saved' && key !== undefined) target.keys.set(key, key)
    } else if (dice < 0.75) {
      const wasOver = target.over
      const next = fresh(undefined)
      const { id, owner } = target.session
      const session = { ...next, id: id.slice(0, 2) + next.id.slice(2), ...(owner === undefined ? {} : { owner }) }
      const outcome = await store.rotate(target.session, session, { now, login: false, requireLive: true })
      if (outcome.outcome === 'created') {
        if (wasOver) faults.revived += 1
        target.over = true
        remember(session)
      }
    } else if (dice < 0.9) {
      const wasOver = target.over
      const ended = await store.revoke(target.session.id, now)
      if (ended && wasOver) faults.revived += 1
      target.over = true
    } else if (dice < 0.93) {
      const user = pick(USERS)
      if (user !== undefined)
        for (const id of await store.revokeOwner(ownerOf(user), now)) (known.get(id) as Known).over = true
    } else if (dice < 0.97) {
      const found = await store.load(target.session.id, now)
      if (typeof found === 'object' && target.over) faults.revived += 1
    } else {
      for (const { id } of await store.sweep(now, 1_000)) (known.get(id) as Known).over = true
    }
  }

  for (let done = 0; done < STEPS; done += WIDTH) {
    await Promise.all(Array.from({ length: WIDTH }, step))
    now += Math.floor(random() * 400)
  }

  const live = new Map<string, StoredSession>()
  for (const [id, { over, keys }] of known) {
    const found = await store.load(id, now)
    if (typeof found !== 'object') continue
    live.set(id, found)
    if (over) faults.revived += 1
    for (const key of keys.keys()) if (found.fields[key] !== key) faults.lostKeys += 1
  }
  const owners = new Set([...live.values()].flatMap(({ owner }) => owner ?? []))
  for (const user of USERS) {
    if (user === undefined) continue
    const listed = (await store.list(ownerOf(user), now)).map(({ id }) => id).sort()
    const expected = [...live.values()].filter(({ owner }) => owner === ownerOf(user)).map(({ id }) => id)
    if (listed.join() !== expected.sort().join()) faults.index += 1
  }
  return { faults, count: await store.count(now), expected: { sessions: live.size, owners: owners.size } }
}

async function check(t: Test, store: SessionStore) {
  const { faults, count, expected } = await interleave(store)
  t.same(faults, { revived: 0, lostKeys: 0, index: 0 }, `seed ${SEED}`)
  t.ok(expected.sessions > 0, `${expected.sessions} sessions are live at the end`)
  t.same(count, expected, 'the counts are those of the live sessions')
}

t.test('memory', (t) => check(t, new MemorySessionStore()))

t.test('lmdb', async (t) => {
  const storage = await openTestStorage(t, await storageUrl(t, 'lmdb'))
  if (storage.kind !== 'lmdb') throw new Error(storage.kind)
  await check(t, new LmdbSessionStore(storage))
})

t.test('redis', async (t) => {
  const storage = await openTestStorage(t, await storageUrl(t, 'redis'))
  if (storage.kind !== 'redis') throw new Error(storage.kind)
  await check(t, new RedisSessionStore(storage))
})

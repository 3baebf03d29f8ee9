import type { Test } from 'tap'
import { type SessionStore, type StoredSession, TOMBSTONE_TTL } from '../../plugins/session/stores/contract.ts'
import { idOf, newToken, ownerOf } from '../../plugins/session/token.ts'

const NOW = Date.UTC(2026, 0, 1)
const MINUTE = 60_000

/** A session of the user (or nobody) that idles out after 30 minutes and ends after 12 hours. */
export function sessionOf(userId: string | undefined, overrides: Partial<StoredSession> = {}): StoredSession {
  const owner = userId === undefined ? undefined : ownerOf(userId)
  return {
    id: idOf(newToken(owner?.slice(0, 2))),
    ...(owner === undefined ? {} : { owner }),
    created: NOW,
    seen: NOW,
    expires: NOW + 30 * MINUTE,
    ends: NOW + 12 * 60 * MINUTE,
    version: 1,
    logins: 0,
    fields: { a: '1', b: '2' },
    ...overrides,
  }
}

const plain = { now: NOW, login: false }

/** What every session store must do. `make` gives a store on fresh, empty storage. */
export async function sessionStoreSuite(t: Test, make: (t: Test) => Promise<SessionStore>): Promise<void> {
  t.test('what was created is loaded; nothing else is there', async (t) => {
    const store = await make(t)
    const session = sessionOf('ada')
    t.same(await store.create(session, plain), { outcome: 'created', logins: 0, evicted: [] })
    t.same(await store.load(session.id, NOW), session)
    t.equal(await store.load(sessionOf('ada').id, NOW), undefined)
    const anonymous = sessionOf(undefined)
    await store.create(anonymous, plain)
    t.same(await store.load(anonymous.id, NOW), anonymous)
  })

  t.test('of those who create one id at the same moment one does, and nobody does once it was ended', async (t) => {
    const store = await make(t)
    for (const user of ['ada', undefined]) {
      const session = sessionOf(user)
      const once = { ...plain, once: true }
      const makers = Array.from({ length: 5 }, (_, n) =>
        store.create({ ...session, fields: { n: `${n}` } }, once).then(({ outcome }) => outcome),
      )
      const outcomes = await Promise.all(makers)
      t.same(outcomes.sort(), ['created', 'taken', 'taken', 'taken', 'taken'])
      const change = { set: { n: '"changed"' }, remove: [], seen: NOW, expires: session.expires }
      await store.save(session.id, session.owner, change, NOW)
      t.same(await store.create(session, once), { outcome: 'taken' })
      t.match(await store.load(session.id, NOW), { fields: { n: '"changed"' } }, 'nothing of it is lost')
      t.same(await store.count(NOW), { sessions: 1, owners: user ? 1 : 0 })
      await store.revoke(session.id, NOW)
      t.same(await store.create(session, once), { outcome: 'taken' }, 'ended')
      t.equal(await store.load(session.id, NOW), 'ended')
    }
    const expired = sessionOf('eve')
    await store.create(expired, plain)
    const { expires } = expired
    const again = { ...expired, seen: expires, expires: expires + MINUTE }
    t.match(await store.create(again, { now: expires, login: false, once: true }), { outcome: 'created' })
    t.match(await store.load(expired.id, expires), { seen: expires })
  })

  t.test('a save writes only what it names, and creates nothing', async (t) => {
    const store = await make(t)
    const session = sessionOf('ada')
    const change = { set: { b: '3', c: '4' }, remove: ['a'], seen: NOW + 5, expires: NOW + 31 * MINUTE }
    t.equal(await store.save(session.id, session.owner, change, NOW), 'gone')
    t.equal(await store.load(session.id, NOW), undefined)
    await store.create(session, plain)
    t.equal(await store.save(session.id, session.owner, change, NOW), 'saved')
    t.match(await store.load(session.id, NOW), {
      fields: { b: '3', c: '4' },
      seen: NOW + 5,
      expires: NOW + 31 * MINUTE,
      version: 2,
    })
    const stored = (await store.load(session.id, NOW)) as StoredSession
    t.notOk('a' in stored.fields)
  })

  t.test('names may be any text; meta stays until it is replaced, and no field is lost with it', async (t) => {
    const store = await make(t)
    const odd = [
      '',
      ' ',
      '"',
      '\\',
      '\n',
      'a\nb',
      '\\n',
      '%s',
      'é',
      '\u{1f600}',
      'constructor',
      'constructor\u0000',
      '-',
      '^$',
    ]
    const fields = Object.fromEntries(odd.map((name, n) => [name, JSON.stringify(`"${name}\n%\\${n}`)]))
    const session = sessionOf('ada', { meta: '{"ip":"::1"}', fields })
    await store.create(session, plain)
    t.same(await store.load(session.id, NOW), session)
    const set = Object.fromEntries(odd.filter((_, n) => n % 3 === 1).map((name) => [name, `"${'x'.repeat(5_000)}"`]))
    const remove = odd.filter((_, n) => n % 3 === 2)
    const times = { seen: NOW, expires: NOW + MINUTE }
    t.equal(
      await store.save(session.id, session.owner, { set: { ...set, 'new\none': '1' }, remove, ...times }, NOW),
      'saved',
    )
    const after = Object.fromEntries(odd.filter((name) => !remove.includes(name)).map((name) => [name, fields[name]]))
    const expected = { ...after, ...set, 'new\none': '1' }
    const saved = (await store.load(session.id, NOW)) as StoredSession
    t.same(saved.fields, expected)
    t.match(saved, { meta: '{"ip":"::1"}', version: 2 })
    const change = { set: { last: '2' }, remove: Object.keys(expected), meta: 'sealed', ...times }
    t.equal(await store.save(session.id, session.owner, change, NOW), 'saved')
    t.match(await store.load(session.id, NOW), { meta: 'sealed', version: 3 })
    t.same(((await store.load(session.id, NOW)) as StoredSession).fields, { last: '2' })
  })

  t.test('a save may move the end, to a later time only', async (t) => {
    const store = await make(t)
    for (const owner of ['ada', undefined]) {
      const session = sessionOf(owner)
      await store.create(session, plain)
      const to = async (ends: number, expires: number) => {
        const change = { set: {}, remove: [], seen: NOW, expires, ends }
        t.equal(await store.save(session.id, session.owner, change, NOW), 'saved')
        return store.load(session.id, NOW)
      }
      const later = session.ends + 1_000
      t.match(await to(later, later), { ends: later, expires: later, created: session.created, logins: session.logins })
      t.match(await to(later - 500, later + 500), { ends: later, expires: later })
    }
  })

  t.test('parallel saves of different fields all survive', async (t) => {
    const store = await make(t)
    const session = sessionOf('ada')
    await store.create(session, plain)
    await Promise.all(
      Array.from({ length: 20 }, (_, n) =>
        store.save(session.id, session.owner, { set: { [`k${n}`]: `${n}` }, remove: [], seen: NOW, expires: NOW }, NOW),
      ),
    )
    const { fields } = (await store.load(session.id, NOW)) as StoredSession
    t.equal(Object.keys(fields).length, 22)
  })

  t.test('a save that expects a version is refused when it is another', async (t) => {
    const store = await make(t)
    const session = sessionOf('ada')
    await store.create(session, plain)
    const change = { set: { a: '9' }, remove: [], seen: NOW, expires: NOW, version: 1 }
    const outcomes = await Promise.all([1, 2, 3].map(() => store.save(session.id, session.owner, change, NOW)))
    t.same(outcomes.sort(), ['conflict', 'conflict', 'saved'])
  })

  t.test('a touch moves the expiry, never back and never past the end', async (t) => {
    const store = await make(t)
    const session = sessionOf('ada')
    await store.create(session, plain)
    const touch = (seen: number, expires: number) =>
      store.save(session.id, session.owner, { set: {}, remove: [], seen, expires }, NOW)
    t.equal(await touch(NOW + 20, NOW + 40 * MINUTE), 'saved')
    await touch(NOW + 10, NOW + 35 * MINUTE)
    t.match(await store.load(session.id, NOW), { seen: NOW + 20, expires: NOW + 40 * MINUTE, version: 1 })
    await touch(NOW + 30, session.ends + MINUTE)
    t.match(await store.load(session.id, NOW), { expires: session.ends })
    t.equal(await store.load(session.id, session.ends), undefined)
  })

  t.test('a session ends exactly at its expiry, for every method', async (t) => {
    const store = await make(t)
    const session = sessionOf('ada')
    await store.create(session, plain)
    const end = session.expires
    t.ok(await store.load(session.id, end - 1))
    t.equal((await store.list(session.owner as string, end - 1)).length, 1)
    t.same(await store.count(end - 1), { sessions: 1, owners: 1 })
    t.equal(await store.load(session.id, end), undefined)
    t.same(await store.list(session.owner as string, end), [])
    t.same(await store.count(end), { sessions: 0, owners: 0 })
    const change = { set: { a: '9' }, remove: [], seen: end, expires: end + MINUTE }
    t.equal(await store.save(session.id, session.owner, change, end), 'gone')
    t.equal(await store.revoke(session.id, end), false)
    t.same(await store.rotate(session, sessionOf('ada'), { now: end, login: false, requireLive: true }), {
      outcome: 'gone',
    })
  })

  t.test('what was revoked is remembered as ended, cannot be saved, and is forgotten later', async (t) => {
    const store = await make(t)
    const session = sessionOf('ada')
    await store.create(session, plain)
    t.equal(await store.revoke(session.id, NOW), true)
    t.equal(await store.revoke(session.id, NOW), false)
    t.equal(await store.load(session.id, NOW), 'ended')
    t.equal(
      await store.save(session.id, session.owner, { set: { a: '9' }, remove: [], seen: NOW, expires: NOW }, NOW),
      'gone',
    )
    t.equal(await store.load(session.id, NOW), 'ended')
    t.equal(await store.load(session.id, NOW + TOMBSTONE_TTL), undefined)
    t.same(await store.sweep(NOW + TOMBSTONE_TTL, 100), [])
    t.same(await store.count(NOW), { sessions: 0, owners: 0 })
  })

  t.test('a rotation replaces; the former is ended and stays so', async (t) => {
    const store = await make(t)
    for (const [from, to] of [
      ['ada', 'ada'],
      [undefined, 'ada'],
      ['ada', 'grace'],
      [undefined, undefined],
    ]) {
      const former = sessionOf(from)
      const next = sessionOf(to)
      await store.create(former, plain)
      t.match(await store.rotate(former, next, { ...plain, requireLive: true }), { outcome: 'created' })
      t.equal(await store.load(former.id, NOW), 'replaced', `${from} to ${to}`)
      t.same(await store.load(next.id, NOW), next)
      if (from) t.notOk((await store.list(ownerOf(from), NOW)).some(({ id }) => id === former.id))
      t.same(
        await store.rotate(former, sessionOf(to), { ...plain, requireLive: true }),
        { outcome: 'gone' },
        'once only',
      )
    }
    t.same(await store.count(NOW), { sessions: 4, owners: 2 })
  })

  t.test('the list has the live sessions of one owner, the newest first', async (t) => {
    const store = await make(t)
    const sessions = [0, 1, 2].map((n) => sessionOf('ada', { created: NOW + n, expires: NOW + (n + 1) * MINUTE }))
    for (const session of sessions) await store.create(session, plain)
    await store.create(sessionOf('grace'), plain)
    const owner = ownerOf('ada')
    const ids = async (now: number) => (await store.list(owner, now)).map(({ id }) => id)
    t.same(await ids(NOW), sessions.map(({ id }) => id).reverse())
    t.same(await ids(NOW + MINUTE), [sessions[2]?.id, sessions[1]?.id])
    await store.revoke(sessions[2]?.id ?? '', NOW)
    t.same(await ids(NOW + MINUTE), [sessions[1]?.id])
  })

  t.test('all live sessions, whoever they belong to', async (t) => {
    const store = await make(t)
    const sessions = [sessionOf('ada'), sessionOf('grace', { expires: NOW + MINUTE }), sessionOf(undefined)]
    for (const session of sessions) await store.create(session, plain)
    const ids = async (now: number) => (await store.all(now)).map(({ id }) => id).sort()
    t.same(await ids(NOW), sessions.map(({ id }) => id).sort())
    t.same(await ids(NOW + MINUTE), [sessions[0]?.id, sessions[2]?.id].sort())
  })

  t.test('all sessions of an owner end at once, but for one', async (t) => {
    const store = await make(t)
    const owner = ownerOf('ada')
    const sessions = Array.from({ length: 5 }, () => sessionOf('ada'))
    for (const session of sessions) await store.create(session, plain)
    const other = sessionOf('grace')
    await store.create(other, plain)
    const kept = sessions[2]?.id as string
    const ended = await store.revokeOwner(owner, NOW, kept)
    t.same(new Set(ended), new Set(sessions.map(({ id }) => id).filter((id) => id !== kept)))
    t.same(
      (await store.list(owner, NOW)).map(({ id }) => id),
      [kept],
    )
    t.same(await store.revokeOwner(owner, NOW), [kept])
    t.same(await store.revokeOwner(owner, NOW), [])
    t.ok(await store.load(other.id, NOW))
    t.same(await store.count(NOW), { sessions: 1, owners: 1 })
  })

  t.test('no rotation in flight escapes when all sessions of an owner end', async (t) => {
    const store = await make(t)
    for (let round = 0; round < 20; round++) {
      const formers = [sessionOf('ada'), sessionOf('ada'), sessionOf('ada')]
      for (const former of formers) await store.create(former, plain)
      const rotate = (former: StoredSession) => store.rotate(former, sessionOf('ada'), { ...plain, requireLive: true })
      const [first, second, third] = formers as [StoredSession, StoredSession, StoredSession]
      await Promise.all([rotate(first), store.revokeOwner(ownerOf('ada'), NOW), rotate(second), rotate(third)])
      const left = await store.list(ownerOf('ada'), NOW)
      if (left.length > 0) return t.fail(`round ${round} left ${left.length}`)
    }
    t.same(await store.count(NOW), { sessions: 0, owners: 0 })
  })

  t.test('logins are counted by owner, beyond the life of the sessions', async (t) => {
    const store = await make(t)
    const login = { now: NOW, login: true }
    const first = sessionOf('ada')
    t.match(await store.create(first, login), { logins: 1 })
    t.match(await store.load(first.id, NOW), { logins: 1 })
    await store.revoke(first.id, NOW)
    t.match(await store.create(sessionOf('ada'), login), { logins: 2 })
    t.match(await store.create(sessionOf('grace'), login), { logins: 1 })
    const former = sessionOf('ada', { logins: 2 })
    await store.create(former, plain)
    t.match(await store.rotate(former, sessionOf('ada'), { ...login, requireLive: false }), { logins: 3 })
    t.match(await store.create(sessionOf('ada', { logins: 7 }), plain), { logins: 7 }, 'no login, no count')
  })

  t.test('the limit holds under parallel logins, by eviction of the least recently used', async (t) => {
    const store = await make(t)
    const owner = ownerOf('ada')
    const admission = { now: NOW, login: true, limit: { sessions: 3, action: 'evict' as const } }
    const old = sessionOf('ada', { seen: NOW - MINUTE })
    await store.create(old, admission)
    const outcomes = await Promise.all(Array.from({ length: 20 }, () => store.create(sessionOf('ada'), admission)))
    t.ok(outcomes.every(({ outcome }) => outcome === 'created'))
    t.equal((await store.list(owner, NOW)).length, 3)
    t.equal(await store.load(old.id, NOW), 'ended')
    const evicted = outcomes.flatMap((outcome) => (outcome.outcome === 'created' ? outcome.evicted : []))
    t.equal(new Set(evicted).size, 18)
    t.same(await store.count(NOW), { sessions: 3, owners: 1 })
  })

  t.test('the limit holds under parallel logins, by refusal; a rotation needs no place more', async (t) => {
    const store = await make(t)
    const admission = { now: NOW, login: true, limit: { sessions: 2, action: 'refuse' as const } }
    const sessions = Array.from({ length: 10 }, () => sessionOf('ada'))
    const outcomes = await Promise.all(sessions.map((session) => store.create(session, admission)))
    t.equal(outcomes.filter(({ outcome }) => outcome === 'created').length, 2)
    t.equal(outcomes.filter(({ outcome }) => outcome === 'full').length, 8)
    const [live] = await store.list(ownerOf('ada'), NOW)
    t.match(await store.rotate(live as StoredSession, sessionOf('ada'), { ...admission, requireLive: true }), {
      outcome: 'created',
    })
    t.equal((await store.list(ownerOf('ada'), NOW)).length, 2)
    t.match(await store.create(sessionOf('ada'), { ...admission, now: NOW + 31 * MINUTE }), { outcome: 'created' })
  })

  t.test('a sweep answers what has expired, each to one caller', async (t) => {
    const store = await make(t)
    const expired = Array.from({ length: 5 }, (_, n) => sessionOf(n % 2 ? 'ada' : undefined, { expires: NOW + n }))
    for (const session of expired) await store.create(session, plain)
    const live = sessionOf('ada')
    await store.create(live, plain)
    t.same(await store.sweep(NOW - 1, 100), [])
    const swept = (await Promise.all([1, 2, 3].map(() => store.sweep(NOW + MINUTE, 100)))).flat()
    t.same(swept.map(({ id }) => id).sort(), expired.map(({ id }) => id).sort())
    t.match(
      swept.find(({ id }) => id === expired[1]?.id),
      { owner: ownerOf('ada'), fields: { a: '1' } },
    )
    t.same(await store.count(NOW + MINUTE), { sessions: 1, owners: 1 })
    t.ok(await store.load(live.id, NOW + MINUTE))
  })
}

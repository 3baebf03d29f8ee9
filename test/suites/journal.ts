import type { Test } from 'tap'
import type { DeadLetter, Journal } from '../../plugins/cache/write-behind/journal.ts'

/** What every journal does, told by two instances (or one, where only one can have it). */
export async function journalContract(t: Test, here: Journal, there: Journal): Promise<void> {
  t.same(await here.own('users', { by: 'here', ms: 60_000, token: 0 }), { token: 1, wanted: false })
  t.same(await here.own('users', { by: 'here', ms: 60_000, token: 1 }), { token: 1, wanted: false }, 'it is renewed')
  t.match(await there.own('users', { by: 'there', ms: 60_000, token: 0 }), { busy: Number })
  const write = (namespace: string, key: string, data: string) =>
    here.append('users', { namespace, key, data: Buffer.from(data), ttl: 60_000, stamps: [] }, 3)
  const done = [await write('a', 'k', 'old'), await write('b', 'k', 'other'), await write('a', 'k', 'new')]
  t.match(done, [{ state: 'done' }, { state: 'done' }, { state: 'done', pending: Number }])
  t.same(await here.pending('a', ['k', 'none']), [Buffer.from('new'), undefined])
  const entries = (await there.read('users', 1, 10)) ?? []
  t.match(
    entries.map(({ namespace, key, data }) => [namespace, key, `${data}`]).sort(),
    [
      ['a', 'k', 'new'],
      ['b', 'k', 'other'],
    ],
    'the latest write of each key, of every namespace',
  )
  const queued = await here.queued('users', 10)
  t.same(
    queued.map(({ id, namespace, key }) => ({ id, namespace, key })).sort((a, b) => (a.id < b.id ? -1 : 1)),
    entries.map(({ id, namespace, key }) => ({ id, namespace, key })).sort((a, b) => (a.id < b.id ? -1 : 1)),
    'who is not the owner sees the same',
  )
  t.equal(queued[0]?.namespace, 'a', 'a key that is written again keeps its place')
  t.ok(queued.every(({ id, since }) => Number.isInteger(since) && since <= Number(id) / 1_000))
  t.equal((await here.queued('users', 1)).length, 1)
  const [first, second] = entries
  if (!first || !second) return void t.fail('nothing waits')
  await write(first.namespace, 'k', 'newest')
  t.equal(await here.remove('users', 1, [first]), true)
  t.equal((await here.bury('users', 1, [{ ...second, reason: 'refused', at: 1 }]))?.length, 1)
  t.same(await here.size('users'), { pending: 1, dead: 1 }, 'what was written meanwhile waits')
  const [letter] = await here.dead('users', 10)
  t.match(letter, { key: 'k', reason: 'refused', at: 1 })
  if (!letter) return
  t.equal(await here.retry('users', letter), true)
  t.equal(await there.retry('users', letter), false, 'once')
  await here.disown('users', 'here')
  t.same(await there.own('users', { by: 'there', ms: 60_000, token: 0 }), { token: 2, wanted: false })
  t.equal((await there.read('users', 2, 10))?.length, 2)
  t.equal(await here.read('users', 1, 10), undefined, 'an owner from before reads nothing')
  t.equal(await here.remove('users', 1, entries), false, 'and removes nothing')
  t.equal(await here.bury('users', 1, [letter]), undefined)
  t.same(await there.size('users'), { pending: 2, dead: 0 })

  const foreign = Array.from({ length: 1_200 }, (_, n) => ({
    ...{ id: `${n}`.padStart(16, '0'), namespace: 'a', key: `key ${n}`, data: Buffer.from([n % 256, 0, 255]) },
    ...{ reason: 'refused elsewhere', at: n },
  }))
  await here.adoptLetters('others', foreign)
  const all: DeadLetter[] = []
  for await (const letters of there.letters('others')) all.push(...letters)
  t.same(
    all.map(({ id: _, ...letter }) => ({ ...letter, data: [...letter.data] })),
    foreign.map(({ id: _, ...letter }) => ({ ...letter, data: [...letter.data] })),
    'letters from elsewhere, in batches and in their order',
  )
  t.same(await here.size('others'), { pending: 0, dead: 1_200 })
  t.same((await there.writers()).sort(), ['others', 'users'])
}

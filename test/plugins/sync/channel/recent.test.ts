import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import t from 'tap'
import type { Commit } from '../../../../openapi/schemas/state.ts'
import { Recent } from '../../../../plugins/sync/channel/recent.ts'

function commit(revision: number, length: number): Commit {
  const ops = [{ op: 'set' as const, key: 'k', value: `${revision} `.padEnd(length, 'x') }]
  return { space: 's', epoch: '1:a', prev: revision - 1, revision, ops, at: 0 }
}

t.test('the latest commits, long and short, within both bounds', async (t) => {
  const recent = new Recent(600, 100_000)
  for (let revision = 1; revision <= 1_000; revision++) {
    const added = recent.add(commit(revision, revision % 50 === 0 ? 20_000 : 10))
    if (added.opsText !== JSON.stringify(added.commit.ops)) t.fail(`another text of ${revision}`)
  }
  const since = recent.since(900) ?? []
  t.same(
    since.map(({ commit }) => commit.revision),
    Array.from({ length: 100 }, (_, n) => 901 + n),
  )
  t.ok(since.every(({ commit, opsText }) => opsText === JSON.stringify(commit.ops)))
  t.equal(recent.since(500), undefined)
})

t.test('what was dropped is let go at once', async (t) => {
  setFlagsFromString('--expose_gc')
  const collect = runInNewContext('gc') as () => void
  const recent = new Recent(1_000, 100_000)
  const seen = Array.from({ length: 100 }, (_, n) => {
    const one = commit(n + 1, 60_000)
    recent.add(one)
    return new WeakRef(one)
  })
  await new Promise((resolve) => setImmediate(resolve))
  collect()
  t.equal(seen.filter((one) => one.deref()).length, 1)
})

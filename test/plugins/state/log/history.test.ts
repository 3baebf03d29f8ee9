import fc from 'fast-check'
import t from 'tap'
import type { Commit, Json } from '../../../../openapi/schemas/state.ts'
import { LOADED, type LogRecord } from '../../../../plugins/state/log/contract.ts'
import { History } from '../../../../plugins/state/log/history.ts'
import { MemoryStateLog } from '../../../../plugins/state/log/memory.ts'

const epoch = '1:a'

function record(revision: number, value: Json, more: Partial<Commit> = {}): LogRecord {
  const ops = [{ op: 'set' as const, key: 'k', value }]
  return {
    commit: { space: 's', epoch, prev: revision - 1, revision, ops, at: revision, ...more },
    tx: `w.${revision}`,
  }
}

t.test('long and short commits, in whatever order, come back as they were', async () =>
  fc.assert(
    fc.property(
      fc.array(fc.record({ size: fc.nat(40_000), client: fc.boolean(), text: fc.string({ unit: 'binary' }) }), {
        minLength: 20,
        maxLength: 80,
      }),
      fc.integer({ min: 1, max: 30 }),
      (commits, bound) => {
        const history = new History({ commits: bound, bytes: 600_000 })
        const model: LogRecord[] = []
        for (const { size, client, text } of commits) {
          const value = { ['__proto__']: text, text: `é${'x'.repeat(size)}` }
          const revision = model.length + 1
          const one = record(revision, value, client ? { clientId: 'c"1', seq: revision } : {})
          model.push(one)
          history.add(one)
          const kept = model.slice(-history.size)
          // All of them now and then: it is the most of the work.
          if (revision % 16 === 0 && JSON.stringify(history.last(bound)) !== JSON.stringify(kept))
            throw new Error('other commits')
          if (history.size > bound || (history.bytes > 600_000 && history.size > 1))
            throw new Error('beyond its bounds')
          if (history.at(revision - history.size) !== undefined) throw new Error('one that was dropped')
          if (JSON.stringify(history.at(revision)) !== JSON.stringify(one)) throw new Error('another commit')
        }
        const older = model.slice(-history.size, -2).filter(({ commit }) => commit.seq !== undefined)
        const told = history.clientWritesBefore(2).map(({ revision }) => revision)
        if (`${told}` !== `${older.map(({ commit }) => commit.revision)}`) throw new Error(`client writes ${told}`)
      },
    ),
    { seed: 7, numRuns: 20 },
  ),
)

t.test('a space in memory is loaded with the newest part of its history, and with who wrote the rest', async (t) => {
  const log = new MemoryStateLog({ commits: 10_000, bytes: 2 ** 25 })
  let { epoch, revision } = await log.load()
  for (; revision < 1_500; revision++) {
    const one = record(revision + 1, revision, { epoch, clientId: 'c', seq: revision + 1 })
    await log.commit({ epoch, revision }, { records: [one], writes: new Map(), added: 0 })
  }
  const { records, clientWrites } = await log.load()
  t.equal(records.length, LOADED.commits)
  t.equal(records.at(-1)?.commit.revision, 1_500)
  t.equal(clientWrites.length, 500)
  t.match(clientWrites[0], { clientId: 'c', seq: 1, revision: 1 })
})

import t from 'tap'
import { LmdbStateLog } from '../../../../plugins/state/log/lmdb.ts'
import { missingIn, STATE_DATABASE } from '../../../../plugins/state/log/lmdb-records.ts'
import { CheckedDatabase } from '../../../../plugins/storage/lmdb/checked-records.ts'
import type { LmdbStorage } from '../../../../plugins/storage/storage.ts'
import { openTestStorage, storageUrl } from '../../../fixtures/storages.ts'
import { batchOf } from '../../../suites/state-log.ts'

const RETENTION = 10

t.test('history that begins amid the commits of one batch is exact, and what nobody needs goes', async (t) => {
  const storage = (await openTestStorage(t, await storageUrl(t, 'lmdb'))) as LmdbStorage
  const database = new CheckedDatabase<string, string>(storage, { name: STATE_DATABASE, encoding: 'text' })
  const log = new LmdbStateLog(storage, 'app', { commits: RETENTION, bytes: 2 ** 25 })
  const { epoch } = await log.load()
  for (let revision = 0; revision < 28; revision += 7) {
    const commits = Array.from({ length: 7 }, (_, n) => ({ [`key${revision + n}`]: n }))
    t.equal(await log.commit({ epoch, revision }, batchOf({ epoch, revision }, 'app', ...commits)), 'committed')
    t.same(missingIn(database), [])
  }
  const loaded = await log.load()
  t.match(loaded, { revision: 28, floor: 19 })
  t.same(
    loaded.records.map(({ commit }) => commit.revision),
    Array.from({ length: RETENTION }, (_, n) => 19 + n),
  )
  t.same(
    (await log.since({ epoch, revision: 24 }))?.records.map(({ commit }) => commit.revision),
    [25, 26, 27, 28],
  )
  t.equal(await log.since({ epoch, revision: 17 }), undefined)
  const kept = [...database.getKeys({ start: 'app/log/', end: 'app/log0' })].map((key) => Number(key.slice(-16)))
  t.same(kept, [15, 22], 'the batches that hold the retained commits')
})

t.test('commits of a batch that are too long for one record stand in several', async (t) => {
  const storage = (await openTestStorage(t, await storageUrl(t, 'lmdb'))) as LmdbStorage
  const database = new CheckedDatabase<string, string>(storage, { name: STATE_DATABASE, encoding: 'text' })
  const log = new LmdbStateLog(storage, 'app', { commits: RETENTION, bytes: 2 ** 25 })
  const state = await log.load()
  const commits = Array.from({ length: 5 }, (_, n) => ({ [`key${n}`]: `${n}`.repeat(15_000) }))
  const batch = batchOf(state, 'app', ...commits)
  await log.commit(state, batch)
  t.equal([...database.getKeys({ start: 'app/log/', end: 'app/log0' })].length, 3)
  t.same((await log.load()).records, batch.records)
  t.same((await log.since({ epoch: state.epoch, revision: 3 }))?.records, batch.records.slice(3))
  t.same(missingIn(database), [])
})

import t from 'tap'
import { LmdbStateLog } from '../../../plugins/state/stores/lmdb.ts'
import { STATE_DATABASE } from '../../../plugins/state/stores/lmdb-records.ts'
import type { LmdbStorage } from '../../../plugins/storage/storage.ts'
import { openTestStorage, storageUrl } from '../../fixtures/storages.ts'
import { batchOf } from '../../suites/state-log.ts'

t.test('a commit is done when it is on disk, not when it is only written', async (t) => {
  const storage = (await openTestStorage(t, await storageUrl(t, 'lmdb'))) as LmdbStorage
  let flush = () => {}
  const word = new Promise<void>((resolve) => {
    flush = resolve
  })
  const root = new Proxy(storage.root, {
    get(target, name) {
      if (name !== 'openDB') return Reflect.get(target, name)
      return (options: { name: string }) => slow(target.openDB<string, string>(options))
    },
  })
  /** A database whose disk waits for a word. */
  function slow<Database extends object>(database: Database): Database {
    return new Proxy(database, {
      get(target, name) {
        const member = Reflect.get(target, name)
        if (name === 'flushed' && held) return Promise.resolve(member).then(() => word)
        return typeof member === 'function' ? member.bind(target) : member
      },
    })
  }
  let held = false
  const log = new LmdbStateLog({ ...storage, root }, 'app', { commits: 10 })
  const state = await log.load()
  held = true
  let done = false
  const commit = log.commit(state, batchOf(state, 'app', { a: 1 })).then(() => {
    done = true
  })
  await storage.root.flushed
  while (storage.root.openDB({ name: STATE_DATABASE }).doesExist('app/key/a') === false) await new Promise(setImmediate)
  for (let n = 0; n < 20; n++) await new Promise(setImmediate)
  t.equal(done, false, 'the disk has not answered')
  flush()
  await commit
  t.equal(done, true)
})

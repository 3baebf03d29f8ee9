import t from 'tap'
import { LmdbStateLog } from '../../../../plugins/state/log/lmdb.ts'
import { missingIn, STATE_DATABASE } from '../../../../plugins/state/log/lmdb-records.ts'
import { CheckedDatabase } from '../../../../plugins/storage/lmdb/checked-records.ts'
import type { LmdbStorage } from '../../../../plugins/storage/storage.ts'
import { openTestStorage, storageUrl } from '../../../fixtures/storages.ts'
import { batchOf } from '../../../suites/state-log.ts'

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
        if (typeof member !== 'function') return member
        const bound = member.bind(target)
        if (name !== 'batch') return bound
        return (puts: () => void) => {
          written = bound(puts)
          return written
        }
      },
    })
  }
  let written: Promise<unknown> | undefined
  let held = false
  const log = new LmdbStateLog({ ...storage, root }, 'app', { commits: 10, bytes: 2 ** 25 })
  const state = await log.load()
  held = true
  let done = false
  const commit = log.commit(state, batchOf(state, 'app', { a: 1 })).then(() => {
    done = true
  })
  await storage.root.flushed
  while (storage.root.openDB({ name: STATE_DATABASE }).doesExist('app/key/a') === false) await new Promise(setImmediate)
  await written
  for (let n = 0; n < 20; n++) await new Promise(setImmediate)
  t.equal(done, false, 'the disk has not answered')
  flush()
  await commit
  t.equal(done, true)
})

t.test('what is not what was written is not handed out, and what is missing is missed', async (t) => {
  const storage = (await openTestStorage(t, await storageUrl(t, 'lmdb'))) as LmdbStorage
  const fill = async (space: string) => {
    const log = new LmdbStateLog(storage, space, { commits: 10, bytes: 2 ** 25 })
    const state = await log.load()
    await log.commit(state, batchOf(state, space, { a: 'value' }))
    return log
  }
  const database = storage.root.openDB<Buffer, string>({ name: STATE_DATABASE, encoding: 'binary' })
  const flipped = await fill('flipped')
  const record = database.get('flipped/key/a') as Buffer
  await database.put('flipped/key/a', Buffer.from(record.toString('latin1').replace('value', 'valve'), 'latin1'))
  await t.rejects(flipped.load(), { code: 'STATEFUL_STORAGE_CORRUPT', message: /checksum/ })
  const hidden = await fill('hidden')
  await database.remove('hidden/key/a')
  await t.rejects(hidden.load(), { code: 'STATEFUL_STORAGE_CORRUPT', message: /0 of 1 keys/ })
  const gap = await fill('gap')
  await database.remove('gap/log/0000000000000001')
  await t.rejects(gap.load(), { code: 'STATEFUL_STORAGE_CORRUPT', message: /0 of 1 log records/ })
  t.equal(missingIn(new CheckedDatabase(storage, { name: STATE_DATABASE, encoding: 'text' })).length, 3)
})

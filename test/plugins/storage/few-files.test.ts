import { execFile } from 'node:child_process'
import { readdir } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import t from 'tap'
import { CheckedDatabase } from '../../../plugins/storage/lmdb/checked-records.ts'
import { openFolder } from '../../fixtures/data-folder.ts'
import { temporaryFolder } from '../../fixtures/storages.ts'

const script = fileURLToPath(new URL('../../fixtures/few-files.ts', import.meta.url))

t.test('with too few open files left a folder does not open, says so, and is as it was', async (t) => {
  const folder = await temporaryFolder(t)
  const storage = await openFolder(folder)
  await new CheckedDatabase(storage, { name: 'kept', encoding: 'text' }).put('key', 'as it was')
  await storage.close()
  const before = await readdir(folder)

  const command = [process.execPath, ...process.execArgv, script, folder, await temporaryFolder(t)]
  const { stdout } = await promisify(execFile)('sh', ['-c', 'ulimit -n 256 && exec "$@"', 'sh', ...command])
  const tries = stdout.trim().split('\n')
  t.equal(tries.pop(), 'as it was')
  t.ok(tries.length > 5, 'after some tries with too few')
  t.same([...new Set(tries)], ['STATEFUL_STORAGE_UNAVAILABLE'])
  t.equal((await readdir(folder)).length, before.length)
})

import { stat } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import type { RootDatabase } from 'lmdb'
import { pinned } from '../plugins/storage/lmdb/backup.ts'
import { DataFile } from '../plugins/storage/lmdb/data-file.ts'
import { DATABASE_FILE, type FileReport, MAX_DATABASES, verifyFile } from '../plugins/storage/lmdb/verify.ts'
import { InvalidConfigurationError, StorageUnavailableError } from '../plugins/support/errors.ts'

const LMDB = 'lmdb:'

/**
 * The folder of an embedded storage.
 * @throws STATEFUL_INVALID_CONFIGURATION for another kind of storage
 */
export function folderOf(url: string): string {
  if (url.startsWith(LMDB) && url.length > LMDB.length) return resolve(url.slice(LMDB.length))
  throw new InvalidConfigurationError(
    'this command is for an LMDB folder (--storage lmdb:<folder>). Redis has its own (SAVE, redis-check-rdb), and `export` writes a file of any storage',
  )
}

/**
 * Reads and checks a folder's database, beside the server that has it too.
 * @param sound runs with LMDB's handle when nothing is damaged
 * @throws STATEFUL_STORAGE_UNAVAILABLE when there is none
 */
export async function inspectFolder(
  directory: string,
  sound: (root: RootDatabase) => Promise<void> = async () => {},
): Promise<FileReport> {
  const path = join(directory, DATABASE_FILE)
  await stat(path).catch((cause: Error) => {
    throw new StorageUnavailableError(`there is no database in '${directory}'`, { cause })
  })
  const file = await DataFile.open(path)
  let root: RootDatabase | undefined
  try {
    const { snapshots } = await file.snapshots()
    // LMDB keeps still what is read here; but it opens nothing without a meta page.
    if (snapshots.some(({ current }) => current)) {
      const { open } = await import('lmdb')
      root = open({ path, maxDbs: MAX_DATABASES, readOnly: true })
    }
    const report = await (root ? pinned(root, () => verifyFile(file)) : verifyFile(file))
    if (!report.damaged && root) await sound(root)
    return root ? report : { ...report, damaged: true }
  } finally {
    await root?.close()
    await file.close()
  }
}

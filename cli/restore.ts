import { resolve } from 'node:path'
import { restoreBackup } from '../plugins/storage/lmdb/restore.ts'
import { folderOf } from './lmdb-folder.ts'
import type { JsonOption, StorageOption } from './options.ts'
import { Output } from './output.ts'

/** Puts a backup in the place of an LMDB folder's database, with the server stopped. */
export async function restore(backup: string, options: StorageOption & JsonOption): Promise<void> {
  const output = new Output(options)
  const progress = output.progress('restoring')
  const restoring = restoreBackup(folderOf(options.storage), resolve(backup), new Date(), (done) => progress.at(done))
  const restored = await restoring.finally(() => progress.end())
  const { former, records } = restored
  output.result(restored, [
    `restored: ${records} records`,
    ...(former === undefined ? [] : [`the former database is kept: ${former}`]),
    'Sessions that were ended since the backup live again: end them (`sessions revoke`), or change SESSION_SECRET.',
  ])
}

import { makeBackup } from '../plugins/storage/lmdb/backup.ts'
import { folderOf, inspectFolder } from './lmdb-folder.ts'
import type { JsonOption, StorageOption } from './options.ts'
import { Output } from './output.ts'
import { tell } from './verify.ts'

/** Writes a backup of an LMDB folder into its `backups`, beside the server too, once it has been found sound. */
export async function backup(options: StorageOption & JsonOption): Promise<void> {
  const directory = folderOf(options.storage)
  let path: string | undefined
  const report = await inspectFolder(directory, async (root) => {
    path = (await makeBackup(root, directory, new Date())).path
  })
  tell(report, new Output(options), path === undefined ? {} : { path })
}

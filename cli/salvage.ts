import { ownFolder } from '../plugins/storage/lmdb/owner.ts'
import { checkFolder } from '../plugins/storage/lmdb/recover.ts'
import { folderOf } from './lmdb-folder.ts'
import type { JsonOption, StorageOption } from './options.ts'
import { Output } from './output.ts'

/** Keeps what is sound of a damaged LMDB folder, with the server stopped: what a boot does, without its time limit. */
export async function salvage(options: StorageOption & JsonOption): Promise<void> {
  const directory = folderOf(options.storage)
  const owner = await ownFolder(directory)
  try {
    const limits = { budget: Number.POSITIVE_INFINITY, recoveryTimeout: Number.POSITIVE_INFINITY }
    const { recovery } = await checkFolder(directory, { ...limits, now: new Date() })
    const lines = recovery ? JSON.stringify(recovery, undefined, 2) : 'nothing is damaged'
    new Output(options).result(recovery ?? null, lines)
  } finally {
    await owner.release()
  }
}

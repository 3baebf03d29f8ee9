import { mkdir } from 'node:fs/promises'
import { resolve } from 'node:path'
import { open } from 'lmdb'
import { StorageUnavailableError } from '../../support/errors.ts'
import type { LmdbStorage } from '../storage.ts'
import { ownFolder } from './owner.ts'
import { recoverFolder } from './probe.ts'
import { DATABASE_FILE, MAX_DATABASES } from './verify.ts'

/**
 * @throws STATEFUL_STORAGE_OWNED when another process has the folder
 * @throws STATEFUL_STORAGE_UNAVAILABLE when the folder cannot be made or opened
 */
export async function openLmdb(folder: string, instanceId: string): Promise<LmdbStorage> {
  const directory = resolve(folder)
  await mkdir(directory, { recursive: true, mode: 0o700 }).catch((cause) => {
    throw new StorageUnavailableError(`the folder '${directory}' cannot be made: ${cause.message}`, { cause })
  })
  const owner = await ownFolder(directory)
  const recovery = await recoverFolder(directory, new Date()).catch(async (cause) => {
    await owner.release()
    throw new StorageUnavailableError(`LMDB in '${directory}': ${cause.message}`, { cause })
  })
  let root: LmdbStorage['root']
  try {
    root = open({
      path: resolve(directory, DATABASE_FILE),
      maxDbs: MAX_DATABASES,
      // `put` resolves at commit (safe against the death of this process) while the disk is still flushing;
      // whoever promises more waits for `flushed`.
      overlappingSync: true,
      // Its own batches around those of an event turn have promises that nobody gets: when the disk is full, one of
      // them would end the process with an unhandled rejection.
      eventTurnBatching: false,
      noMemInit: false,
    })
  } catch (cause) {
    await owner.release()
    throw new StorageUnavailableError(`LMDB in '${directory}': ${(cause as Error).message}`, { cause })
  }
  return {
    kind: 'lmdb',
    instanceId,
    directory,
    root,
    ...(recovery ? { recovery } : {}),
    async ping() {
      root.getStats()
    },
    async close() {
      await root.flushed
      await root.close()
      await owner.release()
    },
  }
}

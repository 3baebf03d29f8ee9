import { open } from 'node:fs/promises'
import { StorageUnavailableError } from '../../support/errors.ts'

/** What LMDB and the check of its file have open at a time, and a few more. */
const NEEDED = 12

/**
 * Sees to it that the process may open the files that opening a folder takes. LMDB's native code ends the process when it
 * finds none left half-way.
 * @throws STATEFUL_STORAGE_UNAVAILABLE
 */
export async function needSpareFiles(directory: string): Promise<void> {
  const tries = await Promise.allSettled(Array.from({ length: NEEDED }, () => open(directory, 'r')))
  await Promise.all(tries.map((one) => one.status === 'fulfilled' && one.value.close()))
  const failed = tries.find((one) => one.status === 'rejected')
  if (!failed) return
  const { reason: cause } = failed
  throw new StorageUnavailableError(
    `LMDB in '${directory}' needs ${NEEDED} more open files than the process may have: raise its limit (ulimit -n)`,
    { cause },
  )
}

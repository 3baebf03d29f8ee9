import { type FileHandle, link, mkdir, open, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { StorageUncheckedError } from '../../support/errors.ts'
import { DataFile } from './data-file.ts'
import { ownFolder } from './owner.ts'
import { describeProblem } from './problem.ts'
import { SUSPECT_FILE } from './recover.ts'
import { DATABASE_FILE, verifyFile } from './verify.ts'

const CHUNK = 1024 * 1024

export interface Restored {
  /** Where the database is now that was in use before; absent when there was none. */
  former?: string
  records: number
  bytes: number
}

/**
 * Puts a backup in the place of a folder's database, as it was at its time: sessions that were ended since included. The
 * backup is read first, and the former database is kept beside it.
 *
 * @param onCopied told of the bytes that are copied so far
 * @throws STATEFUL_STORAGE_OWNED while a process has the folder; STATEFUL_STORAGE_UNCHECKED when the backup cannot be read
 * or is damaged. Nothing was changed then.
 */
export async function restoreBackup(
  directory: string,
  backup: string,
  now: Date,
  onCopied: (done: number, total: number) => void = () => {},
): Promise<Restored> {
  await mkdir(directory, { recursive: true, mode: 0o700 })
  const owner = await ownFolder(directory)
  const path = join(directory, DATABASE_FILE)
  const unfinished = `${path}.restoring`
  try {
    const source = await DataFile.open(backup).catch((cause: Error) => {
      throw new StorageUncheckedError(backup, cause.message, { cause })
    })
    try {
      const report = await verifyFile(source)
      const [problem] = report.problems
      if (report.damaged) {
        const what = problem ? describeProblem(problem) : 'it is damaged'
        throw new StorageUncheckedError(backup, `it is damaged: ${what}`)
      }
      await copy(source, unfinished, onCopied)
      const former = `${path}.before-${now.toISOString().replaceAll(':', '-')}`
      // Both names for a moment, so that there is a database whenever the process dies.
      const kept = await link(path, former).then(
        () => true,
        (error: NodeJS.ErrnoException) => {
          if (error.code === 'ENOENT') return false
          throw error
        },
      )
      await rename(unfinished, path)
      await rm(`${path}-lock`, { force: true })
      await rm(join(directory, SUSPECT_FILE), { force: true })
      return { ...(kept ? { former } : {}), records: report.records, bytes: source.size }
    } finally {
      await source.close()
    }
  } finally {
    await rm(unfinished, { force: true })
    await owner.release()
  }
}

async function copy(source: DataFile, to: string, onCopied: (done: number, total: number) => void): Promise<void> {
  const target: FileHandle = await open(to, 'w', 0o600)
  try {
    for (let at = 0; at < source.size; at += CHUNK) {
      await target.writeFile(await source.bytes(at, Math.min(CHUNK, source.size - at)))
      onCopied(Math.min(at + CHUNK, source.size), source.size)
    }
    await target.sync()
  } finally {
    await target.close()
  }
}

import { constants, copyFile, link, rename, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { StorageNotSalvagedError, StorageUncheckedError } from '../../support/errors.ts'
import { StatefulError } from '../../support/stateful-error.ts'
import { backupsIn } from './backup.ts'
import { DataFile } from './data-file.ts'
import { OutOfTime, type Pace, within } from './pace.ts'
import { describeProblem } from './problem.ts'
import { type SalvageReport, salvage } from './salvage.ts'
import { DATABASE_FILE, type FileReport, verifyFile } from './verify.ts'

/**
 * What the boot did about a damaged database. Losing data is never silent: the code that opens the storage reports it.
 */
export interface Recovery {
  /** What was wrong, one line each. */
  problems: string[]
  /** Where the damaged file is now. */
  quarantined: string
  /** Beside it, as JSON: each problem with the key of its record. */
  report: string
  /** How many records of each database were kept. */
  kept: Record<string, number>
  /** Databases that were lost as a whole, and the backup that each was taken from. */
  restored: Record<string, string>
}

export interface FolderCheck {
  recovery?: Recovery
  /** `false`: there is more than could be read in the time that a boot has; the rest is to be read afterwards. */
  complete: boolean
}

export interface CheckOptions {
  /** Milliseconds for reading a file without a sign of damage. */
  budget: number
  /** Milliseconds for everything when the file is damaged; has to be below Fastify's `pluginTimeout`. */
  recoveryTimeout: number
  now: Date
}

/** Says that the last process found damage while it ran: the next boot reads everything. */
export const SUSPECT_FILE = `${DATABASE_FILE}.suspect`

/**
 * Looks at the database of a folder before LMDB opens it. Only what is named as broken is damage: what cannot be read
 * for another reason (no permission, no file handles, a disk that does not answer) refuses the boot, and the file stays
 * as it is.
 *
 * @throws STATEFUL_STORAGE_UNCHECKED, STATEFUL_STORAGE_NOT_SALVAGED; nothing was changed then
 */
export async function checkFolder(directory: string, options: CheckOptions): Promise<FolderCheck> {
  const path = join(directory, DATABASE_FILE)
  const recovering = within(options.recoveryTimeout)
  const suspect = join(directory, SUSPECT_FILE)
  let report: FileReport
  let file: DataFile
  try {
    if (!(await exists(path))) return { complete: true }
    file = await DataFile.open(path)
  } catch (cause) {
    throw unchecked(path, cause)
  }
  try {
    // So a process leaves it that was killed while it made the file.
    if (file.size === 0 && (await backupsIn(directory)).length === 0) return { complete: true }
    const suspected = await exists(suspect)
    report = await verifyFile(file, suspected ? recovering : within(options.budget))
    if (!report.damaged) {
      if (suspected && !report.complete) throw notSalvaged(path, 'it was found to be damaged while it was in use')
      await rm(suspect, { force: true })
      return { complete: report.complete }
    }
    const recovery = await recover(directory, file, report, recovering, options.now)
    await rm(suspect, { force: true })
    return { recovery, complete: true }
  } catch (cause) {
    throw cause instanceof StatefulError ? cause : unchecked(path, cause)
  } finally {
    await file.close()
  }
}

async function recover(
  directory: string,
  file: DataFile,
  { problems }: FileReport,
  pace: Pace,
  now: Date,
): Promise<Recovery> {
  const { path } = file
  const { otherVersion } = await file.snapshots()
  const found = problems.map(describeProblem)
  if (otherVersion) throw notSalvaged(path, found[0], 'another version of LMDB wrote it')
  const salvaged = `${path}.salvaged`
  let report: SalvageReport
  try {
    report = await salvage(file, salvaged, await backupsIn(directory), pace)
  } catch (cause) {
    throw notSalvaged(path, found[0], cause instanceof OutOfTime ? undefined : (cause as Error).message)
  }
  const quarantined = `${path}.damaged-${now.toISOString().replaceAll(':', '-')}`
  const reportPath = `${quarantined}.report.json`
  await writeFile(reportPath, `${JSON.stringify({ at: now, ...report }, undefined, 2)}\n`, { mode: 0o600 })
  // Both names for a moment, so that there is a database whenever the process dies.
  await link(path, quarantined).catch(() => copyFile(path, quarantined, constants.COPYFILE_FICLONE))
  await rename(salvaged, path)
  await rm(`${path}-lock`, { force: true })
  return { problems: found, quarantined, report: reportPath, kept: report.kept, restored: report.restored }
}

function notSalvaged(path: string, what = '', why = 'it takes longer than `recoveryTimeout` allows'): Error {
  return new StorageNotSalvagedError(path, what, why)
}

function unchecked(path: string, cause: unknown): Error {
  return new StorageUncheckedError(path, (cause as Error).message, { cause })
}

async function exists(path: string): Promise<boolean> {
  try {
    await stat(path)
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false
    throw error
  }
}

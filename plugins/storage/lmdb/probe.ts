import { fork } from 'node:child_process'
import { access, copyFile, mkdir, readdir, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { DATABASE_FILE, type FileReport } from './verify.ts'

/** Reading a very large file may take this long; one that hangs counts as damaged. */
const DEADLINE = 60_000
export const BACKUP_FOLDER = 'backups'

/** What the boot did about a damaged database. Losing data is never silent: whoever opens the storage tells. */
export interface Recovery {
  problems: string[]
  /** Where the damaged file is now. */
  quarantined: string
  /** The backup that was taken instead; without one the storage is empty. */
  restored?: string
}

/**
 * Verifies the database of a folder before this process opens it, and sets it aside when it is damaged.
 * Damage would otherwise kill the process at the first bad page, at each boot anew, or hide records.
 */
export async function recoverFolder(directory: string, now: Date): Promise<Recovery | undefined> {
  const path = join(directory, DATABASE_FILE)
  if (!(await exists(path))) return undefined
  const { problems } = await probe(path)
  if (problems.length === 0) return undefined
  const quarantined = `${path}.damaged-${now.toISOString().replaceAll(':', '-')}`
  await rename(path, quarantined)
  await rm(`${path}-lock`, { force: true })
  const restored = await restoreNewest(directory, path)
  return { problems, quarantined, ...(restored === undefined ? {} : { restored }) }
}

/** Reads the whole file in a child process. */
export async function probe(path: string): Promise<FileReport> {
  const extension = import.meta.url.endsWith('.ts') ? 'ts' : 'js'
  const child = fork(fileURLToPath(new URL(`./probe-child.${extension}`, import.meta.url)), [path], {
    stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
    timeout: DEADLINE,
    killSignal: 'SIGKILL',
  })
  return new Promise((resolve) => {
    let report: FileReport | undefined
    child.on('message', (message) => {
      report = message as FileReport
    })
    const damaged = (how: string) => ({ databases: 0, records: 0, problems: [`reading it ended with ${how}`] })
    child.once('error', (error) => resolve(damaged(error.message)))
    child.once('exit', (code, signal) => resolve(report ?? damaged(signal ?? `exit code ${code}`)))
  })
}

async function restoreNewest(directory: string, path: string): Promise<string | undefined> {
  const folder = join(directory, BACKUP_FOLDER)
  await mkdir(folder, { recursive: true, mode: 0o700 })
  const backups = (await readdir(folder)).filter((name) => name.endsWith('.mdb')).sort()
  for (const name of backups.reverse()) {
    const backup = join(folder, name)
    await copyFile(backup, path)
    if ((await probe(path)).problems.length === 0) return backup
    await rm(path)
    await rm(`${path}-lock`, { force: true })
  }
  return undefined
}

const exists = (path: string): Promise<boolean> =>
  access(path).then(
    () => true,
    () => false,
  )

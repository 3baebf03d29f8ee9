import { type FileHandle, mkdir, open, readdir, rename, rm, statfs } from 'node:fs/promises'
import { basename, join } from 'node:path'
import type { RootDatabase } from 'lmdb'
import type { Clock, Timer } from '../../support/clock.ts'
import { BackupFailedError } from '../../support/errors.ts'
import { DataFile } from './data-file.ts'
import { writeMetas } from './file-format.ts'
import { considerate, OutOfTime, type Pace, within } from './pace.ts'
import type { Problem } from './problem.ts'
import { DATABASE_FILE, verifyFile } from './verify.ts'

export const BACKUP_FOLDER = 'backups'
const UNFINISHED = '.unfinished'
const NAME = /^(\d{4}-\d\d-\d\dT\d\d)-(\d\d)-(\d\d\.\d{3}Z)\.mdb$/

const CHUNK = 1024 * 1024
/** Part of the backup's size that has to stay free: a backup must not be what fills the disk. */
const SPARE = 0.1
/** Milliseconds after the start before an overdue backup is made: a process that starts has enough to do. */
const SETTLE = 60_000
/** Milliseconds after which one is given up. */
const LONGEST_BACKUP = 60 * 60_000
/** The next try after one that failed. */
const RETRY = 60 * 60_000

export interface BackupPlan {
  /** Milliseconds from one to the next. */
  every: number
  /** How many are kept, the newest. */
  keep: number
}

export interface BackupEvents {
  onMade(backup: { path: string; bytes: number; milliseconds: number }): void
  onFailed(error: Error): void
}

/** Backups of a folder, the newest first. */
export async function backupsIn(directory: string): Promise<string[]> {
  const folder = join(directory, BACKUP_FOLDER)
  try {
    const names = (await readdir(folder)).filter((name) => name.endsWith('.mdb'))
    return names
      .sort()
      .reverse()
      .map((name) => join(folder, name))
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return []
    throw error
  }
}

/**
 * Copies the database as it is at one moment, while writers go on, reads the copy, and gives it its name only
 * when it is sound and on disk.
 * @param root LMDB's handle of the file; its read transaction keeps the moment
 * @throws STATEFUL_BACKUP_FAILED; nothing is left of it then
 *
 * @internal
 */
export async function makeBackup(
  root: RootDatabase,
  directory: string,
  now: Date,
  pace: Pace = () => {},
  onDamage: (problems: Problem[]) => void = () => {},
): Promise<{ path: string; bytes: number }> {
  const folder = join(directory, BACKUP_FOLDER)
  const path = join(folder, `${now.toISOString().replaceAll(':', '-')}.mdb`)
  const unfinished = `${path}${UNFINISHED}`
  const limit = within(LONGEST_BACKUP)
  const inTime = async () => {
    await limit()
    await pace()
  }
  try {
    await mkdir(folder, { recursive: true, mode: 0o700 })
    const bytes = await pinned(root, () => copySnapshot(join(directory, DATABASE_FILE), unfinished, inTime))
    const copy = await DataFile.open(unfinished)
    const report = await verifyFile(copy, inTime).finally(() => copy.close())
    if (report.damaged) {
      onDamage(report.problems)
      throw new Error('what it would hold is damaged')
    }
    if (!report.complete) throw new OutOfTime()
    await rename(unfinished, path)
    await syncFolder(folder)
    return { path, bytes }
  } catch (cause) {
    await rm(unfinished, { force: true }).catch(() => {})
    const why = cause instanceof OutOfTime ? 'it was ended before it was whole' : (cause as Error).message
    throw new BackupFailedError(why, { cause })
  }
}

/**
 * Runs while LMDB keeps every page of its present snapshot, and of later ones, from being written again.
 *
 * @internal
 */
export async function pinned<Result>(root: RootDatabase, run: () => Promise<Result>): Promise<Result> {
  const transaction = root.useReadTransaction()
  try {
    return await run()
  } finally {
    transaction.done()
  }
}

async function copySnapshot(from: string, to: string, pace: Pace): Promise<number> {
  const source = await DataFile.open(from)
  let target: FileHandle | undefined
  try {
    const { snapshots } = await source.snapshots()
    const [snapshot] = snapshots
    if (!snapshot) throw new Error('it has no meta page')
    const { pageSize, lastPage } = snapshot.meta
    const size = Math.min(source.size, (lastPage + 1) * pageSize)
    await demandRoom(from, size)
    target = await open(to, 'wx', 0o600)
    for (let at = 0; at < size; at += CHUNK) {
      await pace()
      const bytes = await source.bytes(at, Math.min(CHUNK, size - at))
      // As it was read: the one in the file moves on meanwhile.
      if (at === 0) writeMetas(bytes, snapshot.meta)
      await target.writeFile(bytes)
    }
    await target.sync()
    return size
  } finally {
    await target?.close()
    await source.close()
  }
}

async function demandRoom(path: string, size: number): Promise<void> {
  const { bavail, bsize } = await statfs(path)
  if (bavail * bsize < size * (1 + SPARE)) throw new Error('there is not enough room on the disk')
}

export interface BackupsOptions {
  /** @internal */
  root: RootDatabase
  directory: string
  clock: Clock
  /** Ends one that is being made. */
  ending: AbortSignal
  /** What a backup would hold is damaged, so what is in use is. */
  onDamage(problems: Problem[]): void
}

/** Makes backups by itself, and forgets those that are more than are kept. */
export class Backups {
  readonly #options: BackupsOptions
  #timer: Timer | undefined
  #running: Promise<{ path: string; bytes: number }> | undefined

  constructor(options: BackupsOptions) {
    this.#options = options
  }

  /**
   * Makes one now, as fast as it can be. A call while one is being made gets that one.
   * @throws STATEFUL_BACKUP_FAILED
   */
  make(): Promise<{ path: string; bytes: number }> {
    const { ending } = this.#options
    return this.#make(() => {
      if (ending.aborted) throw new OutOfTime()
    })
  }

  /** The next one is due when the newest that is there is old enough, no matter which process made it. */
  async start(plan: BackupPlan, events: BackupEvents): Promise<void> {
    await this.#removeUnfinished()
    const newest = (await this.#times()).at(-1)
    const now = this.#options.clock.now()
    // A clock that went back must not put it off for longer than from one to the next.
    const due = newest === undefined ? 0 : Math.min(newest, now) + plan.every - now
    this.#schedule(Math.max(due, Math.min(SETTLE, plan.every)), plan, events)
  }

  /** Once `ending` is aborted. */
  async close(): Promise<void> {
    this.#timer?.cancel()
    await this.#running?.catch(() => {})
  }

  #make(pace: Pace): Promise<{ path: string; bytes: number }> {
    if (this.#running) return this.#running
    const { root, directory, clock, onDamage } = this.#options
    this.#running = makeBackup(root, directory, new Date(clock.now()), pace, onDamage).finally(() => {
      this.#running = undefined
    })
    return this.#running
  }

  #schedule(ms: number, plan: BackupPlan, events: BackupEvents): void {
    if (this.#options.ending.aborted) return
    this.#timer?.cancel()
    this.#timer = this.#options.clock.after(ms, () => void this.#run(plan, events))
  }

  async #run(plan: BackupPlan, events: BackupEvents): Promise<void> {
    const started = this.#options.clock.monotonic()
    try {
      const made = await this.#make(considerate(this.#options.clock, this.#options.ending))
      // Only now that there is a newer one.
      await this.#prune(plan.keep)
      this.#schedule(plan.every, plan, events)
      events.onMade({ ...made, milliseconds: this.#options.clock.monotonic() - started })
    } catch (error) {
      this.#schedule(Math.min(plan.every, RETRY), plan, events)
      events.onFailed(error as Error)
    }
  }

  async #prune(keep: number): Promise<void> {
    const own = (await backupsIn(this.#options.directory)).filter((path) => timeOf(path) !== undefined)
    for (const path of own.slice(keep)) {
      await rm(path, { force: true })
      await rm(`${path}-lock`, { force: true })
    }
  }

  async #times(): Promise<number[]> {
    const paths = await backupsIn(this.#options.directory)
    return paths.flatMap((path) => timeOf(path) ?? []).sort((a, b) => a - b)
  }

  /** What a process left that died while it made one. */
  async #removeUnfinished(): Promise<void> {
    const folder = join(this.#options.directory, BACKUP_FOLDER)
    const names = await readdir(folder).catch(() => [])
    for (const name of names) if (name.endsWith(UNFINISHED)) await rm(join(folder, name), { force: true })
  }
}

function timeOf(path: string): number | undefined {
  const match = NAME.exec(basename(path))
  return match ? Date.parse(`${match[1]}:${match[2]}:${match[3]}`) : undefined
}

async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, 'r')
  try {
    await folder.sync()
  } finally {
    await folder.close()
  }
}

import { mkdir, writeFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import type { RootDatabase } from 'lmdb'
import { type Clock, systemClock } from '../../support/clock.ts'
import { StorageCorruptError, StorageUnavailableError } from '../../support/errors.ts'
import type { LmdbStorage } from '../storage.ts'
import { Backups, pinned } from './backup.ts'
import { RESTART } from './checked-records.ts'
import { COMMIT_DEADLINE, Commits, inTime } from './commits.ts'
import { DataFile } from './data-file.ts'
import { ownFolder } from './owner.ts'
import { considerate, type Pace } from './pace.ts'
import { describeProblem, isDamage, type Problem } from './problem.ts'
import { checkFolder, SUSPECT_FILE } from './recover.ts'
import { Reserve } from './reserve.ts'
import { Room } from './room.ts'
import { needSpareFiles } from './spare-files.ts'
import { DATABASE_FILE, MAX_DATABASES, verifyFile } from './verify.ts'

/** With the rest of a boot well below the 10 s that Fastify gives a plugin. */
const CHECK_BUDGET = 2_000
const RECOVERY_TIMEOUT = 7_000
const MOST_PROBLEMS = 20

export interface LmdbOptions {
  /** Milliseconds of a boot for reading the file; the rest is read afterwards, in the background. Default 2,000. */
  checkBudget?: number
  /** Milliseconds of a boot for keeping what is sound of a damaged file. Default 7,000. */
  recoveryTimeout?: number
  /** Default: the system's. */
  clock?: Clock
  /** Hears of damage that is found while the storage is open. */
  onDamage?: (problem: Problem) => void
}

/**
 * @throws STATEFUL_STORAGE_OWNED when another process has the folder
 * @throws STATEFUL_STORAGE_UNAVAILABLE when the folder cannot be made or opened
 * @throws STATEFUL_STORAGE_UNCHECKED, STATEFUL_STORAGE_NOT_SALVAGED: the file is as it was
 */
export async function openLmdb(folder: string, instanceId: string, options: LmdbOptions = {}): Promise<LmdbStorage> {
  const { clock = systemClock, checkBudget = CHECK_BUDGET, recoveryTimeout = RECOVERY_TIMEOUT } = options
  const directory = resolve(folder)
  await mkdir(directory, { recursive: true, mode: 0o700 }).catch((cause) => {
    throw new StorageUnavailableError(`the folder '${directory}' cannot be made: ${cause.message}`, { cause })
  })
  await needSpareFiles(directory)
  const owner = await ownFolder(directory)
  try {
    const now = new Date(clock.now())
    const check = await checkFolder(directory, { budget: checkBudget, recoveryTimeout, now })
    const root = await openRoot(directory)
    const damage = new DamageReports(directory, options.onDamage)
    const ending = new AbortController()
    const pace = considerate(clock, ending.signal)
    const reserve = new Reserve(directory, clock)
    const backups = new Backups({
      root,
      directory,
      clock,
      ending: ending.signal,
      onDamage: (problems) => damage.add(problems),
    })
    const checked = check.complete ? Promise.resolve() : readAll(root, directory, pace, damage)
    return {
      kind: 'lmdb',
      instanceId,
      directory,
      root,
      commits: new Commits(reserve, new Room(directory, clock)),
      backups,
      checked,
      ...(check.recovery ? { recovery: check.recovery } : {}),
      reportDamage: (problem) => damage.add([problem]),
      async ping() {
        if (damage.first) throw new StorageCorruptError(describeProblem(damage.first), RESTART)
        root.getStats()
      },
      async close() {
        ending.abort()
        await Promise.all([checked, backups.close(), reserve.close(), damage.written])
        // Everything acknowledged as flushed has been waited for; after a failed commit lmdb never says so.
        await inTime(COMMIT_DEADLINE, root.flushed).catch(() => {})
        await root.close()
        await owner.release()
      },
    }
  } catch (error) {
    await owner.release()
    throw error
  }
}

async function openRoot(directory: string): Promise<RootDatabase> {
  try {
    // A native add-on: a bundle of an application that does not use it must not need it.
    const { open } = await import('lmdb')
    return open({
      path: join(directory, DATABASE_FILE),
      maxDbs: MAX_DATABASES,
      // `put` resolves at commit (safe against the death of this process) while the disk is still flushing;
      // callers that promise more wait for `flushed`.
      overlappingSync: true,
      // Its own batches around those of an event turn have promises that reach no caller: when the disk is full, one of
      // them would end the process with an unhandled rejection.
      eventTurnBatching: false,
      noMemInit: false,
    })
  } catch (cause) {
    throw new StorageUnavailableError(`LMDB in '${directory}': ${(cause as Error).message}`, { cause })
  }
}

/** What a boot had no time for. */
async function readAll(root: RootDatabase, directory: string, pace: Pace, damage: DamageReports): Promise<void> {
  try {
    await pinned(root, async () => {
      const file = await DataFile.open(join(directory, DATABASE_FILE))
      const { problems } = await verifyFile(file, pace).finally(() => file.close())
      damage.add(problems)
    })
  } catch (error) {
    // That it could not be read proves nothing; the next boot, and the next backup, read it again.
    damage.add([{ what: `it could not be read: ${(error as Error).message}`, kind: 'record', disposable: true }])
  }
}

/** Damage that was found while the storage is open. */
class DamageReports {
  /** The first that the process should not go on with. */
  first: Problem | undefined
  /** When the next boot will know. */
  written: Promise<void> = Promise.resolve()
  #count = 0
  readonly #directory: string
  readonly #listener: LmdbOptions['onDamage']

  constructor(directory: string, listener: LmdbOptions['onDamage']) {
    this.#directory = directory
    this.#listener = listener
  }

  add(problems: readonly Problem[]): void {
    for (const problem of problems) {
      if (isDamage(problem) && !this.first) {
        this.first = problem
        const text = `${describeProblem(problem)}\n`
        // Without it the next boot finds the damage only if it comes there in time, as this one did.
        this.written = writeFile(join(this.#directory, SUSPECT_FILE), text, { mode: 0o600 }).catch(() => {})
      }
      if (this.#count++ < MOST_PROBLEMS) this.#listener?.(problem)
    }
  }
}

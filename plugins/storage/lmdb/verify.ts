import { fromBufferKey } from 'ordered-binary'
import { decodeRegistration, payloadOfRaw, REGISTRY, type Registration, seedOf } from './checked-records.ts'
import type { DataFile } from './data-file.ts'
import type { Tree } from './file-format.ts'
import { OutOfTime, type Pace } from './pace.ts'
import { isDamage, type Problem } from './problem.ts'
import type { Snapshot } from './snapshot.ts'

/** File of the database in its folder. */
export const DATABASE_FILE = 'stateful.mdb'
export const MAX_DATABASES = 64
/** For a person to read; all of them could be millions. */
const MOST_PROBLEMS = 50

export interface FileReport {
  databases: number
  records: number
  /** What is wrong, at most the first 50; empty when all is well. */
  problems: Problem[]
  /** Whether something is wrong that the process may not run with. */
  damaged: boolean
  /** `false` when the time was over before everything was read. */
  complete: boolean
}

/** For a salvage. */
export interface Sink {
  sound(database: string, key: Buffer, value: Buffer): void
  /** The record is there and is not what was written. */
  broken(database: string, key: Buffer): void
}

/**
 * Reads a file: its meta pages, the list of free pages, then each database, those first that nothing can replace.
 * @throws what the disk says; that is no damage
 */
export async function verifyFile(file: DataFile, pace: Pace = () => {}): Promise<FileReport> {
  const { snapshots, problems } = await file.snapshots()
  const report: FileReport = { databases: 0, records: 0, problems, damaged: problems.length > 0, complete: true }
  for (const snapshot of snapshots.filter(({ current }) => current)) await verifySnapshot(snapshot, pace, report)
  return report
}

/**
 * @param contents is filled with what the snapshot holds
 */
export async function verifySnapshot(
  snapshot: Snapshot,
  pace: Pace,
  report: FileReport,
  contents = new Contents(),
  sink?: Sink,
): Promise<void> {
  try {
    await snapshot.readFreeList(pace)
    await contents.read(snapshot, pace)
    for (const [name, tree] of contents.inOrder()) {
      report.databases++
      const registration = contents.registrations.get(name)
      const seed = seedOf(name)
      for await (const found of snapshot.records(tree, name, pace)) {
        for (const { key, value } of found) {
          if (registration && payloadOfRaw(seed, key, value) === undefined) {
            sink?.broken(name, key)
            note(report, { ...recordProblem(name, key), disposable: registration.disposable })
            continue
          }
          report.records++
          contents.count(name)
          sink?.sound(name, key, value)
        }
      }
    }
  } catch (error) {
    if (!(error instanceof OutOfTime)) throw error
    report.complete = false
  }
  for (const problem of snapshot.problems) note(report, problem)
}

/** Which databases a snapshot has, and what they say of themselves. */
export class Contents {
  readonly trees = new Map<string, Tree>()
  readonly registrations = new Map<string, Registration>()
  readonly sound = new Map<string, number>()

  async read(snapshot: Snapshot, pace: Pace): Promise<void> {
    for (const [name, tree] of await snapshot.databases(pace)) this.trees.set(name, tree)
    const registry = this.trees.get(REGISTRY)
    if (!registry) return
    this.trees.delete(REGISTRY)
    for await (const found of snapshot.records(registry, REGISTRY, pace)) {
      for (const { key, value } of found) {
        const registration = decodeRegistration(key.toString(), value)
        if (registration) this.registrations.set(key.toString(), registration)
        else snapshot.problems.push({ ...recordProblem(REGISTRY, key), kind: 'structure' })
      }
    }
  }

  /** First what only a backup can replace, last what can be made again. */
  inOrder(): [string, Tree][] {
    const rank = (name: string) => {
      const registration = this.registrations.get(name)
      return registration?.disposable ? 2 : registration?.restorable ? 0 : 1
    }
    return [...this.trees].sort(([a], [b]) => rank(a) - rank(b))
  }

  count(name: string): void {
    this.sound.set(name, (this.sound.get(name) ?? 0) + 1)
  }
}

function recordProblem(database: string, key: Buffer): Problem {
  return { database, key: textOf(key), what: 'the record does not have its checksum', kind: 'record' }
}

function note(report: FileReport, problem: Problem): void {
  if (isDamage(problem)) report.damaged = true
  if (report.problems.length < MOST_PROBLEMS) report.problems.push(problem)
}

function textOf(key: Buffer): string {
  try {
    return String(fromBufferKey(key)).slice(0, 100)
  } catch {
    return key.toString('hex').slice(0, 100)
  }
}

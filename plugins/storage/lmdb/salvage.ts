import { open as openFile, rm } from 'node:fs/promises'
import { basename, dirname } from 'node:path'
import type { Database, RootDatabase } from 'lmdb'
import { systemClock } from '../../support/clock.ts'
import { StorageFullError } from '../../support/errors.ts'
import {
  decodeRegistration,
  encodeRegistration,
  payloadOfRaw,
  REGISTRY,
  type Registration,
  seedOf,
} from './checked-records.ts'
import { DataFile } from './data-file.ts'
import type { Tree } from './file-format.ts'
import { OutOfTime, type Pace } from './pace.ts'
import { Room } from './room.ts'
import { DATABASE_LIST, type Found, type Snapshot } from './snapshot.ts'
import { Contents, type FileReport, MAX_DATABASES, verifyFile, verifySnapshot } from './verify.ts'

/** What a salvage found and did; written beside the file that was set aside. */
export interface SalvageReport extends FileReport {
  /** How many records of each database were kept. */
  kept: Record<string, number>
  /** The backup that a database was taken from, because nothing was left of it. */
  restored: Record<string, string>
  /** Databases with an order of keys of their own: they stay in the file that was set aside. */
  leftOut: string[]
}

/** Bytes written in one transaction. */
const BATCH = 1024 * 1024

/**
 * Writes everything that is sound into a fresh file, record by record:
 *
 * 1. What each database still holds, for that is the newest.
 * 2. Leaves that nothing points to any more, because the page that did is broken: the checksum of each of their
 *    records tells which database it is of.
 * 3. Of a database that may be restored, what is still missing and is in a sound backup, the newest first: records that
 *    are known to be broken; others if there are no more of them than are missing, for among more would be what was
 *    deleted since; and all of a database if nothing of it was found.
 *
 * Every database is marked as salvaged, so that its owner puts in order what it derives from its records.
 *
 * @throws OutOfTime, and what the disk says; `target` is gone then
 */
export async function salvage(
  source: DataFile,
  target: string,
  backups: readonly string[],
  pace: Pace,
): Promise<SalvageReport> {
  await removeDatabase(target)
  const copy = await Copy.create(target)
  try {
    const { snapshots, problems } = await source.snapshots()
    const report: FileReport = { databases: 0, records: 0, problems, damaged: problems.length > 0, complete: true }
    const contents = new Contents()
    const [snapshot] = snapshots
    const plain = (name: string) => contents.trees.get(name)?.flags === 0
    const broken = new Map<string, Set<string>>()
    if (snapshot) {
      await verifySnapshot(snapshot, pace, report, contents, {
        sound(name, key, value) {
          if (plain(name)) copy.put(name, key, value)
        },
        broken(name, key) {
          broken.set(name, (broken.get(name) ?? new Set()).add(key.toString('hex')))
        },
      })
      if (!report.complete) throw new OutOfTime()
      if (snapshot.problems.length > 0) await takeLost(snapshot, contents, copy, pace)
    }
    const listed = snapshot !== undefined && !snapshot.problems.some(({ database }) => database === DATABASE_LIST)
    const restored = await restore(backups, copy, pace, {
      broken: (name) => broken.get(name) ?? new Set(),
      missing(name) {
        const tree = contents.trees.get(name)
        // Not in a list that is whole: there was no such database.
        if (!tree) return listed ? 0 : Number.POSITIVE_INFINITY
        return tree.entries - copy.kept(name)
      },
    })
    const registrations = [...contents.registrations].map(([name, registration]): [string, Registration] => {
      return [name, { ...registration, salvaged: restored[name] ? 'restored' : 'kept' }]
    })
    copy.register(registrations)
    const kept = copy.counts()
    await copy.close()
    await flush(target)
    await rm(`${target}-lock`, { force: true })
    return { ...report, kept, restored, leftOut: [...contents.trees.keys()].filter((name) => !plain(name)) }
  } catch (error) {
    await copy.close()
    await removeDatabase(target)
    throw error
  }
}

/** Gives back to the databases the leaves that they have lost. */
async function takeLost(snapshot: Snapshot, contents: Contents, copy: Copy, pace: Pace): Promise<void> {
  for await (const found of snapshot.lostRecords(pace)) {
    for (const { key, value } of found) {
      if (payloadOfRaw(seedOf(REGISTRY), key, value) === undefined) continue
      const registration = decodeRegistration(key.toString(), value)
      if (registration && !contents.registrations.has(key.toString())) {
        contents.registrations.set(key.toString(), registration)
      }
    }
  }
  copy.counts()
  const taken = new Map<string, Buffer[]>()
  const candidates = [...contents.registrations].filter(
    ([name, { restorable }]) => contents.trees.has(name) || restorable,
  )
  for await (const found of snapshot.lostRecords(pace)) {
    for (const { key, value } of found) {
      const owner = candidates.find(([name]) => payloadOfRaw(seedOf(name), key, value) !== undefined)
      if (!owner || copy.has(owner[0], key)) continue
      copy.put(owner[0], key, value)
      taken.set(owner[0], [...(taken.get(owner[0]) ?? []), Buffer.from(key)])
    }
  }
  for (const [name, keys] of taken) {
    const tree = contents.trees.get(name)
    // More than are missing: among them is what had been deleted, an ended session for example.
    if (tree && copy.kept(name) > tree.entries) for (const key of keys) copy.remove(name, key)
  }
}

interface Needs {
  /** Keys, in hexadecimal, of records that are there and broken. */
  broken(name: string): ReadonlySet<string>
  missing(name: string): number
}

/** @returns by database, the name of the newest backup that something of it was taken from */
async function restore(
  backups: readonly string[],
  copy: Copy,
  pace: Pace,
  needs: Needs,
): Promise<Record<string, string>> {
  const restored: Record<string, string> = {}
  for (const path of backups) {
    const file = await DataFile.open(path)
    try {
      const { snapshots, problems } = await file.snapshots()
      if (snapshots.length === 0 || problems.length > 0) continue
      const contents = new Contents()
      await contents.read(await newest(file), pace)
      const wanted = [...contents.registrations].filter(([name, { restorable }]) => {
        return restorable && contents.trees.has(name) && needs.missing(name) > 0
      })
      // A backup is sound as a whole, or the next older one is taken.
      if (wanted.length === 0 || !(await isSound(file, pace))) continue
      for (const [name, registration] of wanted) {
        const records = (await newest(file)).records(contents.trees.get(name) as Tree, name, pace)
        if (!(await takeMissing(records, name, copy, needs))) continue
        restored[name] ??= basename(path)
        copy.register([[name, { ...registration, salvaged: 'restored' }]])
      }
    } finally {
      await file.close()
    }
  }
  return restored
}

async function takeMissing(records: AsyncGenerator<Found[]>, name: string, copy: Copy, needs: Needs): Promise<boolean> {
  const nothing = copy.kept(name) === 0
  const known = needs.broken(name)
  const others: Found[] = []
  const most = needs.missing(name)
  let taken = false
  for await (const found of records) {
    for (const record of found) {
      if (!nothing && copy.has(name, record.key)) continue
      if (nothing || known.has(record.key.toString('hex'))) {
        copy.put(name, record.key, record.value)
        taken = true
      } else if (others.length <= most) others.push(record)
    }
  }
  if (others.length === 0 || others.length > needs.missing(name)) return taken
  for (const { key, value } of others) copy.put(name, key, value)
  return true
}

/** @throws OutOfTime */
async function isSound(file: DataFile, pace: Pace): Promise<boolean> {
  const { damaged, complete } = await verifyFile(file, pace)
  if (!complete) throw new OutOfTime()
  return !damaged
}

/** Each reading marks pages as seen, so each begins with a snapshot of its own. */
async function newest(file: DataFile): Promise<Snapshot> {
  return (await file.snapshots()).snapshots[0] as Snapshot
}

/** The fresh file. Nothing of it is flushed before the end: until then it is not needed. */
class Copy {
  readonly #root: RootDatabase<Buffer, Buffer>
  readonly #room: Pick<Room, 'take'>
  readonly #databases = new Map<string, Database<Buffer, Buffer>>()
  #pending: [name: string, key: Buffer, value: Buffer][] = []
  #bytes = 0

  private constructor(root: RootDatabase<Buffer, Buffer>, room: Pick<Room, 'take'>) {
    this.#root = root
    this.#room = room
  }

  static async create(path: string): Promise<Copy> {
    const { open } = await import('lmdb')
    const options = { maxDbs: MAX_DATABASES, noSync: true, eventTurnBatching: false, ...RAW }
    return new Copy(open<Buffer, Buffer>({ path, ...options }), new Room(dirname(path), systemClock))
  }

  counts(): Record<string, number> {
    this.#flush()
    return Object.fromEntries(Array.from(this.#databases, ([name, database]) => [name, database.getCount()]))
  }

  put(name: string, key: Buffer, value: Buffer): void {
    this.#pending.push([name, key, value])
    this.#bytes += key.length + value.length
    if (this.#bytes > BATCH) this.#flush()
  }

  /** Of what was flushed; `kept` and `counts` flush. */
  has(name: string, key: Buffer): boolean {
    return this.#database(name).doesExist(key)
  }

  remove(name: string, key: Buffer): void {
    this.#flush()
    this.#demandRoom(0)
    this.#database(name).removeSync(key)
  }

  kept(name: string): number {
    this.#flush()
    return this.#databases.get(name)?.getCount() ?? 0
  }

  register(registrations: Iterable<[string, Registration]>): void {
    this.#demandRoom(0)
    const registry = this.#root.openDB<Buffer, string>({ name: REGISTRY, encoding: 'binary' })
    for (const [name, registration] of registrations) {
      registry.putSync(name, encodeRegistration(name, registration))
    }
  }

  async close(): Promise<void> {
    await this.#root.close()
  }

  /** In one transaction, and at once: the caller's loop is what has to wait. */
  #flush(): void {
    const pending = this.#pending
    if (pending.length === 0) return
    this.#demandRoom(this.#bytes)
    this.#pending = []
    this.#bytes = 0
    const databases = new Map(pending.map(([name]) => [name, this.#database(name)]))
    this.#root.transactionSync(() => {
      for (const [name, key, value] of pending) databases.get(name)?.putSync(key, value)
    })
  }

  #demandRoom(bytes: number): void {
    if (!this.#room.take(bytes)) throw new StorageFullError('a salvage')
  }

  #database(name: string): Database<Buffer, Buffer> {
    const known = this.#databases.get(name)
    if (known) return known
    this.#demandRoom(0)
    const made = this.#root.openDB<Buffer, Buffer>({ name, ...RAW })
    this.#databases.set(name, made)
    return made
  }
}

/** Keys and values as they stand in the file. */
const RAW = { keyEncoding: 'binary', encoding: 'binary' } as const

async function removeDatabase(path: string): Promise<void> {
  await rm(path, { force: true })
  await rm(`${path}-lock`, { force: true })
}

async function flush(path: string): Promise<void> {
  const file = await openFile(path, 'r+')
  try {
    await file.sync()
  } finally {
    await file.close()
  }
}

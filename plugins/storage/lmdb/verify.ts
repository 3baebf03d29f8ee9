import { rename, rm } from 'node:fs/promises'
import { open, type RootDatabase } from 'lmdb'
import { STATE_DATABASE, verifyStateDatabase } from '../../state/stores/lmdb-records.ts'

/** File of the database in its folder. */
export const DATABASE_FILE = 'stateful.mdb'
export const MAX_DATABASES = 64

export interface FileReport {
  databases: number
  records: number
  /** What is wrong, one line each; empty when all is well. */
  problems: string[]
}

/**
 * Reads every page of a database file, beside its owner if there is one. A damaged page can end the process with
 * SIGBUS or SIGSEGV, which nothing catches: call it in a process that may die (see probe.ts).
 */
export async function verifyFile(path: string): Promise<FileReport> {
  const root = open({ path, maxDbs: MAX_DATABASES, readOnly: true })
  try {
    const report: FileReport = { databases: 0, records: 0, problems: [] }
    for (const name of databaseNames(root)) {
      report.databases++
      if (name === STATE_DATABASE) {
        const database = root.openDB<string, string>({ name, encoding: 'string' })
        const { records, problems } = verifyStateDatabase(database)
        report.records += records
        report.problems.push(...problems)
      } else {
        // The caches and sessions check nothing themselves; that every page can be read is what is known of them.
        for (const _ of root.openDB({ name, encoding: 'binary' }).getRange()) report.records++
      }
    }
    return report
  } finally {
    await root.close()
  }
}

/** Copies the database as it is at one moment, beside its owner if there is one. */
export async function backupFile(path: string, target: string): Promise<void> {
  const root = open({ path, maxDbs: MAX_DATABASES, readOnly: true })
  // Under its name only when it is whole: a restore takes the newest file that it finds.
  const unfinished = `${target}.unfinished`
  try {
    await root.backup(unfinished, true)
    await rename(unfinished, target)
  } catch (error) {
    await rm(unfinished, { force: true })
    throw error
  } finally {
    await root.close()
  }
}

function databaseNames(root: RootDatabase): string[] {
  return Array.from(root.getKeys(), (key) => String(key))
}

/**
 * Keeps the embedded storage safe.
 *
 *   npm run storage -- verify <folder>    reads and checks everything; beside a running server too
 *   npm run storage -- backup <folder>    writes <folder>/backups/<time>.mdb; beside a running server too
 *   npm run storage -- salvage <folder>   keeps what is sound of a damaged database, however long that takes
 *
 * A boot does the last one by itself if it can be done in the time that a boot has. See docs/storage.md.
 */
import { stat } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { open } from 'lmdb'
import { makeBackup, pinned } from '../plugins/storage/lmdb/backup.ts'
import { DataFile } from '../plugins/storage/lmdb/data-file.ts'
import { ownFolder } from '../plugins/storage/lmdb/owner.ts'
import { describeProblem } from '../plugins/storage/lmdb/problem.ts'
import { checkFolder } from '../plugins/storage/lmdb/recover.ts'
import { DATABASE_FILE, MAX_DATABASES, verifyFile } from '../plugins/storage/lmdb/verify.ts'

const [, , command, folder] = process.argv
const say = (line: string) => process.stdout.write(`${line}\n`)

if (!folder || !['verify', 'backup', 'salvage'].includes(command ?? '')) {
  say('usage: storage verify|backup|salvage <data folder>')
  process.exit(2)
}
const directory = resolve(folder)
const path = join(directory, DATABASE_FILE)
await stat(path)
process.exitCode = command === 'salvage' ? await salvage() : await verifyAndBackup()

async function verifyAndBackup(): Promise<number> {
  const file = await DataFile.open(path)
  const { snapshots } = await file.snapshots()
  // LMDB keeps still what is read here; but it opens nothing without a meta page.
  const known = snapshots.some(({ current }) => current)
  const root = known ? open({ path, maxDbs: MAX_DATABASES, readOnly: true }) : undefined
  try {
    const report = await (root ? pinned(root, () => verifyFile(file)) : verifyFile(file))
    for (const problem of report.problems) say(`damaged: ${describeProblem(problem)}`)
    if (report.damaged || !root) return 1
    say(`${report.records} records in ${report.databases} databases are well`)
    if (command === 'backup') say(`written: ${(await makeBackup(root, directory, new Date())).path}`)
    return 0
  } finally {
    await root?.close()
    await file.close()
  }
}

async function salvage(): Promise<number> {
  const owner = await ownFolder(directory)
  try {
    const limits = { budget: Number.POSITIVE_INFINITY, recoveryTimeout: Number.POSITIVE_INFINITY }
    const { recovery } = await checkFolder(directory, { ...limits, now: new Date() })
    say(recovery ? JSON.stringify(recovery, undefined, 2) : 'nothing is damaged')
    return 0
  } finally {
    await owner.release()
  }
}

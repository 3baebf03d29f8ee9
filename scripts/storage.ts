/**
 * Keeps the embedded storage safe; works beside a running server.
 *
 *   npm run storage -- verify <folder>   reads and checks everything
 *   npm run storage -- backup <folder>   writes <folder>/backups/<time>.mdb
 *
 * A boot that finds the database damaged sets it aside and takes the newest backup.
 */
import { mkdir } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { BACKUP_FOLDER, probe } from '../plugins/storage/lmdb/probe.ts'
import { backupFile, DATABASE_FILE } from '../plugins/storage/lmdb/verify.ts'

const [, , command, folder] = process.argv
const say = (line: string) => process.stdout.write(`${line}\n`)

if (!folder || (command !== 'verify' && command !== 'backup')) {
  say('usage: storage verify|backup <data folder>')
  process.exit(2)
}
const path = join(resolve(folder), DATABASE_FILE)
const report = await probe(path)
for (const problem of report.problems) say(`damaged: ${problem}`)
// A backup of damaged data would be taken for a good one.
if (report.problems.length > 0) process.exit(1)
say(`${report.records} records in ${report.databases} databases are well`)
if (command === 'backup') {
  const backups = join(resolve(folder), BACKUP_FOLDER)
  await mkdir(backups, { recursive: true, mode: 0o700 })
  const target = join(backups, `${new Date().toISOString().replaceAll(':', '-')}.mdb`)
  await backupFile(path, target)
  say(`written: ${target}`)
}

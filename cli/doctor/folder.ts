import { access, constants, stat, statfs } from 'node:fs/promises'
import { dirname, resolve } from 'node:path'
import { backupsIn } from '../../plugins/storage/lmdb/backup.ts'
import { ownFolder } from '../../plugins/storage/lmdb/owner.ts'
import { SUSPECT_FILE } from '../../plugins/storage/lmdb/recover.ts'
import { DATABASE_FILE } from '../../plugins/storage/lmdb/verify.ts'
import { type Check, type Finding, failure, pass, warning } from './check.ts'

const LMDB = 'lmdb:'
const MiB = 1024 * 1024
/** Free bytes below which the storage refuses writes, and below which it soon may. */
const FULL = 4 * MiB
const SCARCE = 512 * MiB
/** Milliseconds. The server makes a backup each day. */
const OLD_BACKUP = 3 * 24 * 60 * 60_000
/** `f_type` of file systems that another machine may write to as well. */
const NETWORK = new Map([
  [0x6969, 'NFS'],
  [0xff534d42, 'CIFS'],
  [0xfe534d42, 'SMB'],
  [0x01021997, '9p'],
])

/** The folder of an embedded storage; `undefined` for another one. */
const folderIn = (storage: string): string | undefined =>
  storage.startsWith(LMDB) && storage.length > LMDB.length ? resolve(storage.slice(LMDB.length)) : undefined

export const folder: Check = async ({ storage }) => {
  const directory = folderIn(storage)
  if (directory === undefined) return []
  const there = await stat(directory).catch((error: NodeJS.ErrnoException) => error)
  if (there instanceof Error) {
    if (there.code !== 'ENOENT') {
      return [failure('data folder', `'${directory}' cannot be reached (${there.code})`, 'Name a folder that can.')]
    }
    const parent = await existing(dirname(directory))
    if (await isWritable(parent)) return [pass('data folder', `'${directory}' is made at the first boot`)]
    const cure = `Make it, for the user of the server: mkdir -p '${directory}'`
    return [failure('data folder', `'${directory}' is not there, and '${parent}' cannot be written`, cure)]
  }
  if (!there.isDirectory()) {
    return [failure('data folder', `'${directory}' is a file`, 'Name a folder in STORAGE: lmdb:<folder>.')]
  }
  if (!(await isWritable(directory))) {
    const cure = `Give it to the user of the server: chown -R <user> '${directory}'`
    return [failure('data folder', `'${directory}' cannot be written`, cure)]
  }
  const findings: Finding[] = [pass('data folder', directory)]
  if ((there.mode & 0o077) !== 0) {
    findings.push(
      warning(
        'data folder',
        'other users of this machine can look into it',
        `Close it to them: chmod 700 '${directory}'`,
      ),
    )
  }
  return [...findings, ...(await owner(directory)), ...(await damage(directory))]
}

async function owner(directory: string): Promise<Finding[]> {
  try {
    await (await ownFolder(directory)).release()
    return []
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    if (code === 'STATEFUL_STORAGE_OWNED') return [pass('owner', 'a server has the folder now')]
    return [failure('owner', message, 'Use a file system with Unix sockets, or a shorter path.')]
  }
}

async function damage(directory: string): Promise<Finding[]> {
  const suspect = await stat(resolve(directory, SUSPECT_FILE)).catch(() => undefined)
  if (!suspect) return []
  return [
    failure(
      'database',
      'the last server found damage in it',
      'Restart, or run `fastify-stateful salvage` without a server.',
    ),
  ]
}

export const disk: Check = async ({ storage }) => {
  const directory = folderIn(storage)
  if (directory === undefined) return []
  const { bavail, bsize, type } = await statfs(await existing(directory))
  const network = NETWORK.get(type)
  const findings: Finding[] = []
  if (network) {
    const cure = 'Use a disk of this machine, or Redis: LMDB maps its file into memory, and its lock is of one kernel.'
    findings.push(failure('disk', `the data folder is on ${network}`, cure))
  }
  const free = bavail * bsize
  const text = `${Math.floor(free / MiB).toLocaleString('en')} MiB are free`
  if (free < FULL) findings.push(failure('disk', `${text}: writes are refused`, 'Free some room.'))
  else if (free < SCARCE) findings.push(warning('disk', text, 'Free some room, before writes are refused.'))
  else findings.push(pass('disk', text))
  return findings
}

export const backups: Check = async ({ storage, now }) => {
  const directory = folderIn(storage)
  const database = directory && (await stat(resolve(directory, DATABASE_FILE)).catch(() => undefined))
  if (!directory || !database) return []
  const [newest] = await backupsIn(directory).catch(() => [])
  const made = newest ? (await stat(newest)).mtimeMs : database.birthtimeMs
  if (now() - made <= OLD_BACKUP)
    return [pass('backups', newest ? new Date(made).toISOString() : 'the first one is to come')]
  return [
    warning(
      'backups',
      newest ? `the newest is of ${new Date(made).toISOString()}` : 'there is none',
      'Make one now: `fastify-stateful backup`; look in the log of the server why it made none, and keep copies elsewhere.',
    ),
  ]
}

/** The nearest folder that is there. */
async function existing(path: string): Promise<string> {
  const there = await stat(path).catch(() => undefined)
  return there || dirname(path) === path ? path : existing(dirname(path))
}

const isWritable = (path: string): Promise<boolean> =>
  access(path, constants.W_OK | constants.X_OK).then(
    () => true,
    () => false,
  )

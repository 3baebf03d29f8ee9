import { createHash } from 'node:crypto'
import { link, readdir, realpath, unlink } from 'node:fs/promises'
import { connect, createServer, type Server } from 'node:net'
import { tmpdir } from 'node:os'
import { basename, dirname, join } from 'node:path'
import { StorageOwnedError } from '../../support/errors.ts'

/** Unix socket paths end at 104 bytes on macOS and 108 on Linux. */
const MAX_SOCKET_PATH = 100

/**
 * Makes this process the folder's only owner until `release()` or its death.
 *
 * LMDB itself lets several processes write, but a stopped writer then blocks all others, and replicas in
 * memory would diverge. Node has no file locks, and a file with a process id cannot tell a dead owner from
 * a reused id. A listening Unix socket can: it answers exactly as long as its process exists (also while
 * that is suspended), and `kill -9` leaves only a name that answers nobody.
 *
 * Owners are numbered: `owner.1`, `owner.2`, …; the highest number is the one that counts. Who finds it dead links
 * its own socket under the next one, and link() lets exactly one succeed. No number is used twice, because the
 * highest name is never removed, not even by its owner: moving or removing a name that "was dead a moment ago" is
 * how two successors overlook each other.
 *
 * @throws STATEFUL_STORAGE_OWNED
 */
export async function ownFolder(directory: string): Promise<{ release(): Promise<void> }> {
  const folder = await realpath(directory)
  const path = socketPath(folder)
  const candidate = `${path}.new.${process.pid}.${process.hrtime.bigint().toString(36)}`
  const server = await listen(candidate)
  try {
    const number = await claim(candidate, path)
    if (number === undefined) throw new StorageOwnedError(folder)
    await removeDead(path, number)
  } catch (error) {
    await close(server)
    throw error
  } finally {
    await unlink(candidate).catch(() => {})
  }
  return { release: () => close(server) }
}

function socketPath(folder: string): string {
  const inside = join(folder, 'owner')
  // Room for the candidate's suffix.
  if (Buffer.byteLength(inside) <= MAX_SOCKET_PATH - 34) return inside
  const digest = createHash('sha256').update(folder).digest('hex').slice(0, 24)
  return join(tmpdir(), `stateful-${digest}`)
}

/** @returns the number under which `candidate` owns the folder; undefined: somebody else does */
async function claim(candidate: string, path: string): Promise<number | undefined> {
  for (;;) {
    const last = Math.max(0, ...(await numbers(path)))
    if (last > 0 && (await answers(`${path}.${last}`))) return undefined
    const number = last + 1
    try {
      await link(candidate, `${path}.${number}`)
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException
      if (code === 'EEXIST') continue
      // Between bind and listen a candidate answers nobody: the winner has cleared it away as a dead one's.
      if (code === 'ENOENT') return undefined
      throw error
    }
    // The number was free, perhaps only because later owners have come and cleared it away since we looked.
    if (Math.max(...(await numbers(path))) === number) return number
    await unlink(`${path}.${number}`)
  }
}

/** Removes what dead owners and claimants left; never a number above `own`. */
async function removeDead(path: string, own: number): Promise<void> {
  for (const number of await numbers(path)) {
    if (number < own) await unlink(`${path}.${number}`).catch(() => {})
  }
  for (const suffix of await suffixes(path)) {
    if (suffix.startsWith('new.') && !(await answers(`${path}.${suffix}`))) {
      await unlink(`${path}.${suffix}`).catch(() => {})
    }
  }
}

async function numbers(path: string): Promise<number[]> {
  return (await suffixes(path)).filter((suffix) => /^[1-9]\d*$/.test(suffix)).map(Number)
}

async function suffixes(path: string): Promise<string[]> {
  const prefix = `${basename(path)}.`
  const names = await readdir(dirname(path))
  return names.filter((name) => name.startsWith(prefix)).map((name) => name.slice(prefix.length))
}

/** Only a refusal says that nobody listens: a suspended owner whose queue is full gives other errors. */
function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path)
    socket.once('connect', () => {
      socket.destroy()
      resolve(true)
    })
    socket.once('error', (error: NodeJS.ErrnoException) =>
      resolve(error.code !== 'ECONNREFUSED' && error.code !== 'ENOENT'),
    )
  })
}

function listen(path: string): Promise<Server> {
  return new Promise((resolve, reject) => {
    const server = createServer((socket) => socket.destroy())
    server.once('error', reject)
    server.listen(path, () => {
      server.unref()
      resolve(server)
    })
  })
}

function close(server: Server): Promise<void> {
  return new Promise((resolve) => server.close(() => resolve()))
}

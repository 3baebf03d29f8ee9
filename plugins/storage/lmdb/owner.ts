import { createHash } from 'node:crypto'
import { link, realpath, rename, unlink } from 'node:fs/promises'
import { connect, createServer, type Server } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
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
 * @throws STATEFUL_STORAGE_OWNED
 */
export async function ownFolder(directory: string): Promise<{ release(): Promise<void> }> {
  const folder = await realpath(directory)
  const path = socketPath(folder)
  const candidate = `${path}.${process.pid}.${process.hrtime.bigint().toString(36)}`
  const server = await listen(candidate)
  try {
    await claim(candidate, path, folder)
  } catch (error) {
    await close(server)
    throw error
  }
  return {
    async release() {
      await unlink(path).catch(() => {})
      await close(server)
    },
  }
}

function socketPath(folder: string): string {
  const inside = join(folder, 'owner')
  // Room for the candidate's suffix.
  if (Buffer.byteLength(inside) <= MAX_SOCKET_PATH - 30) return inside
  const digest = createHash('sha256').update(folder).digest('hex').slice(0, 24)
  return join(tmpdir(), `stateful-${digest}`)
}

/** link() is atomic and refuses an existing name, so of several claimants exactly one wins. */
async function claim(candidate: string, path: string, folder: string, attempts = 3): Promise<void> {
  try {
    await link(candidate, path)
    await unlink(candidate)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
    if (attempts === 0 || (await answers(path))) throw new StorageOwnedError(folder)
    await removeDead(path)
    await claim(candidate, path, folder, attempts - 1)
  }
}

/** Moves the dead socket aside first: unlinking by name could hit a socket that has just been claimed. */
async function removeDead(path: string): Promise<void> {
  const aside = `${path}.dead.${process.pid}`
  try {
    await rename(path, aside)
  } catch {
    return // somebody else removed it
  }
  if (await answers(aside)) await link(aside, path).catch(() => {})
  await unlink(aside)
}

function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path)
    socket.once('connect', () => {
      socket.destroy()
      resolve(true)
    })
    socket.once('error', () => resolve(false))
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

import { createHash } from 'node:crypto'
import { link, readdir, realpath, rename, stat, unlink } from 'node:fs/promises'
import { connect, createServer, type Server } from 'node:net'
import { tmpdir } from 'node:os'
import { basename, dirname, join } from 'node:path'
import { StorageOwnedError } from '../../support/errors.ts'

/** Unix socket paths end at 104 bytes on macOS and 108 on Linux. */
const MAX_SOCKET_PATH = 100
const ASIDE = '.dead.'

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
  const { ino } = await stat(candidate)
  try {
    await claim({ candidate, path, folder, ino })
  } catch (error) {
    await close(server)
    throw error
  }
  return {
    async release() {
      for (const name of [path, ...(await namesAside(path))]) {
        // Under another number the name is somebody else's by now.
        if ((await inode(name)) === ino) await unlink(name).catch(() => {})
      }
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

interface Claimant {
  /** The name under which it listens already. */
  candidate: string
  /** The name that it wants. */
  path: string
  folder: string
  ino: number
}

/** link() is atomic and refuses an existing name, so of several claimants exactly one wins. */
async function claim(claimant: Claimant, attempts = 3): Promise<void> {
  const { candidate, path, folder, ino } = claimant
  try {
    await link(candidate, path)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
    if (attempts === 0 || (await answers(path))) throw new StorageOwnedError(folder)
    await removeDead(path)
    return claim(claimant, attempts - 1)
  }
  await unlink(candidate)
  // The name was free, perhaps only because somebody is just finding out that it was a living owner's (removeDead).
  if (await ownerAside(path, ino)) {
    await unlink(path).catch(() => {})
    throw new StorageOwnedError(folder)
  }
}

/**
 * Moves the dead socket aside first: unlinking by name could hit a socket that has just been claimed. One that
 * turns out to be alive goes back; where that fails, or this process dies before, it goes on owning the folder under
 * its name aside, where every claimant looks for it.
 */
async function removeDead(path: string): Promise<void> {
  const aside = `${path}${ASIDE}${process.pid}.${process.hrtime.bigint().toString(36)}`
  try {
    await rename(path, aside)
  } catch {
    return // somebody else removed it
  }
  if (await answers(aside)) {
    try {
      await link(aside, path)
    } catch {
      return
    }
  }
  await unlink(aside).catch(() => {})
}

/** @param own the claimant's inode: its own name may have been moved aside meanwhile, which is no reason to yield */
async function ownerAside(path: string, own: number): Promise<boolean> {
  for (const name of await namesAside(path)) {
    if ((await inode(name)) === own) continue
    if (await answers(name)) return true
    // Dead for good: no other process can come to listen behind an existing name.
    await unlink(name).catch(() => {})
  }
  return false
}

async function inode(path: string): Promise<number | undefined> {
  return (await stat(path).catch(() => undefined))?.ino
}

async function namesAside(path: string): Promise<string[]> {
  const names = await readdir(dirname(path))
  return names.filter((name) => name.startsWith(`${basename(path)}${ASIDE}`)).map((name) => join(dirname(path), name))
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

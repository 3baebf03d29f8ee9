import { link, mkdtemp, readdir, realpath, rm, symlink, unlink } from 'node:fs/promises'
import { connect, createServer, type Server } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { StorageOwnedError, StorageUnavailableError } from '../../support/errors.ts'

/** Unix socket paths end at 104 bytes on macOS and 108 on Linux. */
const MAX_SOCKET_PATH = 100
/** `owner.new.<process id>.<nanoseconds in base 36>` and a slash. */
const LONGEST_NAME = 34

/**
 * Makes the caller the folder's only owner, until `release()` or the death of its process or worker thread.
 *
 * LMDB itself lets several processes write, but a stopped writer then blocks all others, and replicas in
 * memory would diverge. Node has no file locks, LMDB's are shared by all who open the file, and a file with a process
 * id cannot tell a dead owner from a reused id, nor from one in a container that counts its own. A listening Unix
 * socket can: it answers exactly as long as its owner exists (also while that is suspended), and `kill -9` leaves only
 * a name that answers no one. The kernel finds it by its file, so it answers through every mount of the folder and
 * across the namespaces of containers. What it cannot reach is another kernel: a network file system, or a virtual
 * machine that shares the folder with its host. LMDB must not be opened twice there either.
 *
 * The sockets lie in the folder. If its path is longer than a socket's may be, they are bound and called through a
 * symbolic link of a moment, in a directory of this caller's own: how they are reached does not matter, and the name
 * of the link does not matter.
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
  const way = await shortWay(folder)
  const candidate = `owner.new.${process.pid}.${process.hrtime.bigint().toString(36)}`
  try {
    const server = await listen(join(way.path, candidate)).catch((cause: Error) => {
      const what = `no socket can be made in the folder '${folder}', which it takes to own it: ${cause.message}`
      throw new StorageUnavailableError(what, { cause })
    })
    try {
      const owners = new Owners(folder, way.path)
      const number = await owners.claim(candidate)
      if (number === undefined) throw new StorageOwnedError(folder)
      await owners.removeDead(number)
    } catch (error) {
      await close(server)
      throw error
    } finally {
      await unlink(join(folder, candidate)).catch(() => {})
    }
    return { release: () => close(server) }
  } finally {
    await way.leave()
  }
}

/**
 * The folder by a path that leaves room for the name of a socket.
 * @throws STATEFUL_STORAGE_UNAVAILABLE
 */
async function shortWay(folder: string): Promise<{ path: string; leave(): Promise<void> }> {
  if (fits(folder)) return { path: folder, leave: async () => {} }
  let cause: unknown
  for (const place of new Set([tmpdir(), '/tmp', '/var/tmp', '/dev/shm'])) {
    if (!fits(join(place, 'own-XXXXXX', 'f'))) continue
    try {
      const own = await mkdtemp(join(place, 'own-'))
      const leave = () => rm(own, { recursive: true, force: true }).catch(() => {})
      try {
        await symlink(folder, join(own, 'f'))
        return { path: join(own, 'f'), leave }
      } catch (error) {
        await leave()
        throw error
      }
    } catch (error) {
      cause ??= error
    }
  }
  const most = MAX_SOCKET_PATH - LONGEST_NAME
  const what = `the path '${folder}' is longer than ${most} bytes, and no temporary directory can be written to. Set TMPDIR to one, or choose a shorter path`
  throw new StorageUnavailableError(what, { cause })
}

const fits = (path: string): boolean => Buffer.byteLength(path) <= MAX_SOCKET_PATH - LONGEST_NAME

/** The names of owners in a folder. */
class Owners {
  readonly #folder: string
  /** A way to the folder that is short enough for a socket. */
  readonly #way: string

  constructor(folder: string, way: string) {
    this.#folder = folder
    this.#way = way
  }

  /** @returns the number under which `candidate` owns the folder; undefined: somebody else does */
  async claim(candidate: string): Promise<number | undefined> {
    for (;;) {
      const last = Math.max(0, ...(await this.#numbers()))
      if (last > 0 && (await this.#answers(`owner.${last}`))) return undefined
      const number = last + 1
      const own = join(this.#folder, `owner.${number}`)
      try {
        await link(join(this.#folder, candidate), own)
      } catch (error) {
        const { code } = error as NodeJS.ErrnoException
        if (code === 'EEXIST') continue
        // Between bind and listen a candidate does not answer: the winner has cleared it away as a dead one's.
        if (code === 'ENOENT') return undefined
        throw error
      }
      // The number was free, perhaps only because later owners have come and cleared it away since we looked.
      if (Math.max(...(await this.#numbers())) === number) return number
      await unlink(own)
    }
  }

  /** Removes what dead owners and claimants left; never a number above `own`. */
  async removeDead(own: number): Promise<void> {
    const names = await this.#names()
    const dead = names.filter((name) => (numberOf(name) ?? own) < own)
    for (const name of names) {
      if (name.startsWith('owner.new.') && !(await this.#answers(name))) dead.push(name)
    }
    for (const name of dead) await unlink(join(this.#folder, name)).catch(() => {})
  }

  async #numbers(): Promise<number[]> {
    return (await this.#names()).map(numberOf).filter((number) => number !== undefined)
  }

  async #names(): Promise<string[]> {
    return (await readdir(this.#folder)).filter((name) => name.startsWith('owner.'))
  }

  /**
   * Only a refusal says that there is no listener: a suspended owner whose queue is full gives other errors.
   * @throws STATEFUL_STORAGE_UNAVAILABLE when the system lets this user not ask
   */
  #answers(name: string): Promise<boolean> {
    return new Promise((resolve, reject) => {
      const socket = connect(join(this.#way, name))
      socket.once('connect', () => {
        socket.destroy()
        resolve(true)
      })
      socket.once('error', (error: NodeJS.ErrnoException) => {
        if (error.code === 'EACCES') {
          const what = `'${join(this.#folder, name)}' belongs to another user, so whether the folder is in use cannot be found out. Run as the folder's user, or remove the file if its server has ended`
          reject(new StorageUnavailableError(what, { cause: error }))
        } else resolve(error.code !== 'ECONNREFUSED' && error.code !== 'ENOENT')
      })
    })
  }
}

function numberOf(name: string): number | undefined {
  const suffix = /^owner\.([1-9]\d*)$/.exec(name)?.[1]
  return suffix === undefined ? undefined : Number(suffix)
}

function listen(path: string): Promise<Server> {
  return new Promise((resolve, reject) => {
    const server = createServer((socket) => socket.destroy())
    server.once('error', reject)
    // A worker of node:cluster would have its primary listen, which lives on when the worker dies.
    server.listen({ path, exclusive: true }, () => {
      server.unref()
      resolve(server)
    })
  })
}

function close(server: Server): Promise<void> {
  return new Promise((resolve) => server.close(() => resolve()))
}

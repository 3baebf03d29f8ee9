import { type FileHandle, open, readFile } from 'node:fs/promises'
import { headerOf, META_BYTES, type Meta, optional, parseMeta, UNFLUSHED, whatIsWrong } from './file-format.ts'
import type { Problem } from './problem.ts'
import { Snapshot } from './snapshot.ts'

/** Milliseconds in which the disk has to answer one read. */
const READ_DEADLINE = 5_000

/**
 * Reads a database file without LMDB. LMDB maps the file into memory and trusts it: a damaged page ends the process
 * with SIGBUS or SIGSEGV, or hides records. Read like this, damage has a name, the process lives, and no other process
 * is needed that may be killed, starved or missing.
 *
 * It describes one snapshot. Beside a process that writes, a read transaction of LMDB has to keep that snapshot
 * (see `pinned` in backup.ts).
 */
export class DataFile {
  readonly path: string
  /** As it was when the snapshots were looked for. */
  size: number
  readonly #file: FileHandle

  private constructor(path: string, file: FileHandle, size: number) {
    this.path = path
    this.#file = file
    this.size = size
  }

  /** @throws what the file system says: EACCES, EMFILE, EIO … prove nothing about the content */
  static async open(path: string): Promise<DataFile> {
    const file = await open(path, 'r')
    try {
      return new DataFile(path, file, (await file.stat()).size)
    } catch (error) {
      await file.close()
      throw error
    }
  }

  close(): Promise<void> {
    return this.#file.close()
  }

  /** The bytes from there on; fewer at the end of the file. */
  async bytes(at: number, length: number): Promise<Buffer> {
    const buffer = Buffer.allocUnsafe(Math.max(0, Math.min(length, this.size - at)))
    let filled = 0
    while (filled < buffer.length) {
      const { bytesRead } = await inTime(this.#file.read(buffer, filled, buffer.length - filled, at + filled))
      // Shorter than it was a moment ago.
      if (bytesRead === 0) break
      filled += bytesRead
    }
    return buffer.subarray(0, filled)
  }

  /**
   * The snapshots that LMDB may open, the likeliest first, with what is wrong with the meta pages.
   * @returns no snapshot when no meta page can be believed
   */
  async snapshots(): Promise<{ snapshots: Snapshot[]; problems: Problem[]; otherVersion: boolean }> {
    const pageSize = await this.#pageSize()
    const head = await this.#steady(pageSize + META_BYTES)
    // After the meta pages, for a file only grows while it is in use.
    this.size = (await this.#file.stat()).size
    const problems: Problem[] = []
    const metas = [0, pageSize].map((at, page) => {
      try {
        return parseMeta(head.subarray(at))
      } catch (error) {
        problems.push({ page, what: `its meta page ${whatIsWrong(error)}`, kind: 'structure' })
        return undefined
      }
    })
    const [first, second] = metas
    if (first && second) problems.push(...disagreements(first, second))
    // Zero where nothing was flushed apart yet.
    const half = head.subarray(pageSize / 2)
    const flushed = half.some((byte) => byte !== 0) ? await optional(() => parseMeta(half, true)) : undefined
    const chosen = choose([first, second, flushed], await thisBootId())
    const others = [first, second, flushed].filter((meta) => meta !== undefined)
    others.sort((a, b) => b.transaction - a.transaction)
    const snapshots = [...new Set([...chosen, ...others])]
    return {
      snapshots: snapshots.map((meta) => new Snapshot(this, meta, chosen.includes(meta))),
      problems,
      otherVersion: headerOf(head) === 'other-version',
    }
  }

  /** Read until it is the same twice: a commit meanwhile writes it in pieces. */
  async #steady(length: number): Promise<Buffer> {
    let head = await this.bytes(0, length)
    for (let tries = 0; tries < 100; tries++) {
      const again = await this.bytes(0, length)
      if (again.equals(head)) break
      head = again
    }
    return head
  }

  /** The first page tells it; where that is gone, the second begins where it says that it does. */
  async #pageSize(): Promise<number> {
    for (const size of [0, 4_096, 16_384, 8_192, 32_768, 65_536]) {
      const meta = await optional(async () => parseMeta(await this.bytes(size, META_BYTES)))
      if (meta && (size === 0 || meta.pageSize === size)) return meta.pageSize
    }
    return 4_096
  }
}

/** As `mdb_env_pick_meta` does when the folder's only owner opens it; two where the boot of the machine is unknown. */
function choose(metas: (Meta | undefined)[], bootId: bigint | undefined): Meta[] {
  const [first, second, flushed] = metas
  if (!first || !second) return []
  const pick = (same: (meta: Meta) => boolean) => {
    const two = (a: Meta, b: Meta | undefined): Meta => {
      if (!b || b.transaction === 0) return a
      const latest = a.transaction >= b.transaction ? a : b
      if (same(latest) || (latest.flags & UNFLUSHED) === 0) return latest
      return a.transaction > b.transaction ? b : a
    }
    return two(two(first, second), flushed)
  }
  if (bootId !== undefined) return [pick((meta) => meta.bootId !== 0n && meta.bootId === bootId)]
  return [...new Set([pick(() => true), pick(() => false)])]
}

/** Linux tells which boot this is; elsewhere there is no way to ask. */
async function thisBootId(): Promise<bigint | undefined> {
  const id = await optional(() => readFile('/proc/sys/kernel/random/boot_id', 'latin1'))
  return id && /^[0-9a-f]{8}-/.test(id) ? BigInt(`0x${id.slice(0, 8)}`) : undefined
}

/** Transaction n writes meta page n % 2, so the two are neighbours. */
function disagreements(first: Meta, second: Meta): Problem[] {
  const [a, b] = [first.transaction, second.transaction]
  const right = Math.abs(a - b) <= 1 && (a === 0 || a % 2 === 0) && (b === 0 || b % 2 === 1)
  if (right && first.pageSize === second.pageSize) return []
  return [{ what: `its meta pages are of the transactions ${a} and ${b}`, kind: 'structure' }]
}

async function inTime<Result>(promise: Promise<Result>): Promise<Result> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`the disk did not answer within ${READ_DEADLINE} ms`)), READ_DEADLINE)
  })
  try {
    return await Promise.race([promise, late])
  } finally {
    clearTimeout(timer)
  }
}

import type { DataFile } from './data-file.ts'
import {
  type Child,
  compareKeys,
  F_BIGDATA,
  F_DUPDATA,
  F_SUBDATA,
  freePages,
  Malformed,
  type Meta,
  type Node,
  optional,
  overflowValue,
  parseBranch,
  parseLeaf,
  parseOverflow,
  parseTree,
  type Tree,
  whatIsWrong,
} from './file-format.ts'
import type { Pace } from './pace.ts'
import type { Problem } from './problem.ts'

export interface Found {
  key: Buffer
  value: Buffer
  flags: number
}

/** Leaves read together, and the bytes of values that are held at the same time. */
const LEAVES_AT_ONCE = 64
const BYTES_AT_ONCE = 4 * 1024 * 1024
/** Trees that no name can have. */
export const FREE_LIST = '(free pages)'
export const DATABASE_LIST = '(databases)'
const DUPLICATES = 0x04

/** One state of the whole database, and the reading of it. */
export class Snapshot {
  readonly file: DataFile
  readonly meta: Meta
  /** Whether LMDB may open this one. */
  readonly current: boolean
  readonly problems: Problem[] = []
  readonly #used: Uint8Array
  readonly #free: Uint8Array

  constructor(file: DataFile, meta: Meta, current: boolean) {
    this.file = file
    this.meta = meta
    this.current = current
    // What lies beyond the end of the file can only be free.
    const pages = Math.min(meta.lastPage + 1, Math.ceil(file.size / meta.pageSize))
    this.#used = new Uint8Array((pages >> 3) + 1)
    this.#free = new Uint8Array((pages >> 3) + 1)
  }

  /** Reads the list of free pages: first, for pages in use are compared with it. */
  async readFreeList(pace: Pace): Promise<void> {
    for await (const found of this.records(this.meta.free, FREE_LIST, pace)) {
      for (const { value } of found) {
        try {
          for (const [first, pages] of freePages(value)) {
            if (first < 2 || pages < 1 || first + pages - 1 > this.meta.lastPage) {
              throw new Malformed(`names page ${first}`)
            }
            for (let page = first; page < first + pages && page < this.#free.length * 8; page++) {
              if (has(this.#free, page)) throw new Malformed(`names page ${page} twice`)
              add(this.#free, page)
            }
          }
        } catch (error) {
          this.problems.push({ database: FREE_LIST, what: `it ${whatIsWrong(error)}`, kind: 'structure' })
        }
      }
    }
  }

  /** The named databases, and whether the list of them is whole. */
  async databases(pace: Pace): Promise<Map<string, Tree>> {
    const trees = new Map<string, Tree>()
    for await (const found of this.records(this.meta.main, DATABASE_LIST, pace)) {
      for (const { key, value, flags } of found) {
        if ((flags & F_SUBDATA) === 0) continue
        // lmdb writes names as C has them.
        const database = key.toString().replace(/\0$/, '')
        try {
          trees.set(database, parseTree(value))
        } catch (error) {
          this.problems.push({ database, what: `its root ${whatIsWrong(error)}`, kind: 'structure' })
        }
      }
    }
    return trees
  }

  /** All records of one tree, in the order of their keys; what is broken is left out and told in `problems`. */
  async *records(tree: Tree, database: string, pace: Pace): AsyncGenerator<Found[]> {
    let entries = 0
    let previous: Buffer | undefined
    const before = this.problems.length
    for await (const found of this.#leaves(tree, database, pace)) {
      for (const { key } of found) {
        if (previous && (compareKeys(tree, previous, key) ?? -1) >= 0) {
          this.#note(database, 'its keys are out of order')
          // Once is enough: all that follows would be told as well.
          previous = undefined
        } else previous = key
      }
      entries += found.length
      yield found
    }
    if (entries !== tree.entries && this.problems.length === before && (tree.flags & DUPLICATES) === 0) {
      this.#note(database, `${entries} of ${tree.entries} records are there`)
    }
  }

  /**
   * The records of leaves that nothing points to, because what pointed there is broken. Only after every tree was
   * read: each page is in use by one of them, or in the list of free pages, or lost.
   */
  async *lostRecords(pace: Pace): AsyncGenerator<Found[]> {
    // Without it, what was deleted long ago could not be told from what is lost.
    if (this.problems.some(({ database }) => database === FREE_LIST)) return
    const last = Math.min(this.meta.lastPage, Math.floor(this.file.size / this.meta.pageSize) - 1)
    for (let page = 2; page <= last; page++) {
      if (has(this.#used, page) || has(this.#free, page)) continue
      await pace()
      const nodes = await optional(async () => parseLeaf(await this.#page(page, 1), page))
      if (nodes) yield* this.#values(nodes, page, undefined)
    }
  }

  async *#leaves(tree: Tree, database: string, pace: Pace): AsyncGenerator<Found[]> {
    if (tree.root === undefined) return
    yield* this.#below(tree, database, pace, [{ page: tree.root, key: Buffer.alloc(0) }], tree.depth, undefined)
  }

  /** @param end what all keys below stand before */
  async *#below(
    tree: Tree,
    database: string,
    pace: Pace,
    children: Child[],
    level: number,
    end: Buffer | undefined,
  ): AsyncGenerator<Found[]> {
    for (let at = 0; at < children.length; at += LEAVES_AT_ONCE) {
      await pace()
      const group = children.slice(at, at + LEAVES_AT_ONCE).filter(({ page }) => this.#claim(database, page, 1))
      const pages = await this.#pages(group.map(({ page }) => page))
      for (const [index, child] of group.entries()) {
        const next = children[children.indexOf(child, at + index) + 1]?.key ?? end
        const bytes = pages[index] as Buffer
        try {
          if (level === 1) {
            const nodes = parseLeaf(bytes, child.page)
            this.#checkBounds(tree, nodes, child, next)
            yield* this.#values(nodes, child.page, database)
          } else {
            const below = parseBranch(bytes, child.page)
            this.#checkBounds(tree, below.slice(1), child, next)
            yield* this.#below(tree, database, pace, below, level - 1, next)
          }
        } catch (error) {
          this.#note(database, whatIsWrong(error), child.page)
        }
      }
    }
  }

  #checkBounds(tree: Tree, nodes: readonly { key: Buffer }[], { key }: Child, end: Buffer | undefined): void {
    const [first, last] = [nodes[0], nodes.at(-1)]
    if (!first || !last) return
    if (key.length > 0 && (compareKeys(tree, first.key, key) ?? 0) < 0) throw new Malformed('begins before its place')
    if (end && (compareKeys(tree, last.key, end) ?? -1) >= 0) throw new Malformed('ends after its place')
  }

  /** @param database `undefined`: of a lost leaf, where trouble is no news */
  async *#values(nodes: Node[], page: number, database: string | undefined): AsyncGenerator<Found[]> {
    let found: Found[] = []
    let bytes = 0
    for (const node of nodes) {
      try {
        const value = node.flags & F_BIGDATA ? await this.#overflow(node, database) : node.data
        if (node.flags & F_DUPDATA && node.flags & F_SUBDATA) {
          for await (const _ of this.#leaves(parseTree(node.data), database ?? '', () => {}));
        }
        found.push({ key: node.key, value, flags: node.flags })
        bytes += value.length
      } catch (error) {
        if (!(error instanceof Malformed)) throw error
        if (database !== undefined) this.#note(database, `the value of a record ${whatIsWrong(error)}`, page)
      }
      if (bytes > BYTES_AT_ONCE) {
        yield found
        found = []
        bytes = 0
      }
    }
    if (found.length > 0) yield found
  }

  async #overflow(node: Node, database: string | undefined): Promise<Buffer> {
    const { first, pages, size } = parseOverflow(node, this.meta.pageSize)
    if (database !== undefined && !this.#claim(database, first, pages)) throw new Malformed('is not where it should be')
    return overflowValue(await this.#page(first, pages), first, size)
  }

  /** Pages that follow each other are read together. */
  async #pages(numbers: number[]): Promise<Buffer[]> {
    const { pageSize } = this.meta
    const sorted = [...numbers].sort((a, b) => a - b)
    const pages = new Map<number, Buffer>()
    const runs: number[][] = []
    for (const number of sorted) {
      const run = runs.at(-1)
      if (run && run.at(-1) === number - 1) run.push(number)
      else runs.push([number])
    }
    await Promise.all(
      runs.map(async (run) => {
        const first = run[0] as number
        const bytes = await this.file.bytes(first * pageSize, run.length * pageSize)
        for (const [index, number] of run.entries()) {
          pages.set(number, bytes.subarray(index * pageSize, (index + 1) * pageSize))
        }
      }),
    )
    return numbers.map((number) => pages.get(number) as Buffer)
  }

  async #page(number: number, count: number): Promise<Buffer> {
    const { pageSize } = this.meta
    const bytes = await this.file.bytes(number * pageSize, count * pageSize)
    if (bytes.length < count * pageSize) throw new Malformed('is beyond the end of the file')
    return bytes
  }

  /** @returns whether the pages can be read: they are inside the file, and no other tree has them */
  #claim(database: string, first: number, pages: number): boolean {
    const { lastPage, pageSize } = this.meta
    if (first < 2 || first + pages - 1 > lastPage) {
      this.#note(database, `it points to page ${first}, and the last one is ${lastPage}`, first)
      return false
    }
    if ((first + pages) * pageSize > this.file.size) {
      this.#note(database, 'a page is beyond the end of the file', first)
      return false
    }
    for (let page = first; page < first + pages; page++) {
      if (has(this.#used, page)) {
        this.#note(database, 'a page is used twice', page)
        return false
      }
      if (has(this.#free, page)) this.#note(database, 'a page is used, and free at the same time', page)
      add(this.#used, page)
    }
    return true
  }

  #note(database: string, what: string, page?: number): void {
    this.problems.push({ database, ...(page === undefined ? {} : { page }), what, kind: 'structure' })
  }
}

const has = (set: Uint8Array, index: number): boolean => ((set[index >> 3] as number) & (1 << (index & 7))) !== 0
const add = (set: Uint8Array, index: number): void => {
  set[index >> 3] = (set[index >> 3] as number) | (1 << (index & 7))
}

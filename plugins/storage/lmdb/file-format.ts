/**
 * How LMDB lays out its file: data version 2, 64 bits, little-endian, as written by the `lmdb` package. The names are
 * those of `mdb.c`. Parsing here never trusts what it reads: every offset is compared with the page first.
 */

const MAGIC = 0xbeefc0de
const DATA_VERSION = 2
const PAGE_HEADER = 24
const NODE_HEADER = 8
/** Bytes of an `MDB_db`: the root of a tree and its counts. */
const TREE_BYTES = 48
/** Header and meta together. */
export const META_BYTES = PAGE_HEADER + 144
const NO_PAGE = 0xffff_ffff_ffff_ffffn

/** Flags of pages. */
const BRANCH = 0x01
const LEAF = 0x02
const OVERFLOW = 0x04
const META = 0x08
const LEAF2 = 0x20

/** Flags of nodes. */
export const F_BIGDATA = 0x01
export const F_SUBDATA = 0x02
export const F_DUPDATA = 0x04

/** Flags of trees. */
const REVERSE_KEY = 0x02
const INTEGER_KEY = 0x08
/** Set while the transaction may not be on disk yet (lmdb's `overlappingSync`). */
export const UNFLUSHED = 0x1000

export interface Tree {
  flags: number
  /** Levels of pages, the leaves included; 0 when it is empty. */
  depth: number
  entries: number
  root: number | undefined
}

export interface Meta {
  /** As it stood in the file when it was read, header included. */
  raw: Buffer
  pageSize: number
  mapSize: number
  free: Tree
  main: Tree
  flags: number
  lastPage: number
  transaction: number
  bootId: bigint
}

export interface Node {
  flags: number
  key: Buffer
  /** In the leaf itself; of `F_BIGDATA` it says where the value is. */
  data: Buffer
  /** Bytes of the value, wherever it is. */
  size: number
}

export interface Child {
  page: number
  /** The lowest key below it; empty for the first child. */
  key: Buffer
}

/** What is wrong with a piece of the file; caught where the place is known. */
export class Malformed extends Error {}

/** @returns what to tell of it; anything but damage is thrown on */
export function whatIsWrong(error: unknown): string {
  // A number that points outside of a buffer is found by Node before it is found here.
  if (error instanceof Malformed || error instanceof RangeError) return error.message
  throw error
}

/** Where a failure only says that there is none. */
export async function optional<Result>(run: () => Result | Promise<Result>): Promise<Result | undefined> {
  try {
    return await run()
  } catch {
    return undefined
  }
}

/** Whether a file begins like one of LMDB, and its version. */
export function headerOf(bytes: Buffer): 'known' | 'other-version' | 'none' {
  if (bytes.length < META_BYTES) return 'none'
  if (bytes.readUInt32BE(PAGE_HEADER) === MAGIC) return 'other-version'
  if (bytes.readUInt32LE(PAGE_HEADER) !== MAGIC) return 'none'
  return (bytes.readUInt32LE(PAGE_HEADER + 4) & 0xffff) === DATA_VERSION ? 'known' : 'other-version'
}

/**
 * @param bytes from its page header on
 * @param flushed the copy that lmdb writes when it has flushed has no header and no magic of its own
 */
export function parseMeta(bytes: Buffer, flushed = false): Meta {
  if (bytes.length < META_BYTES) throw new Malformed('is cut off')
  if (!flushed && (headerOf(bytes) !== 'known' || (bytes.readUInt16LE(18) & META) === 0)) {
    throw new Malformed('does not begin as one')
  }
  const meta = bytes.subarray(PAGE_HEADER, META_BYTES)
  const pageSize = meta.readUInt32LE(24)
  if (pageSize < 512 || pageSize > 65_536 || (pageSize & (pageSize - 1)) !== 0) {
    throw new Malformed(`names a page size of ${pageSize}`)
  }
  const parsed: Meta = {
    raw: bytes.subarray(0, META_BYTES),
    pageSize,
    mapSize: uint(meta, 16),
    free: parseTree(meta.subarray(24, 24 + TREE_BYTES)),
    main: parseTree(meta.subarray(72, 72 + TREE_BYTES)),
    flags: meta.readUInt16LE(28),
    lastPage: uint(meta, 120),
    transaction: uint(meta, 128),
    bootId: meta.readBigInt64LE(136),
  }
  for (const [name, { root }] of [
    ['free list', parsed.free],
    ['list of databases', parsed.main],
  ] as const) {
    if (root !== undefined && (root < 2 || root > parsed.lastPage)) throw new Malformed(`has no root of the ${name}`)
  }
  if (parsed.lastPage * pageSize >= parsed.mapSize) throw new Malformed(`counts ${parsed.lastPage} pages`)
  return parsed
}

export function parseTree(bytes: Buffer): Tree {
  if (bytes.length !== TREE_BYTES) throw new Malformed('is no database')
  const root = bytes.readBigUInt64LE(40)
  const tree = {
    flags: bytes.readUInt16LE(4),
    depth: bytes.readUInt16LE(6),
    entries: uint(bytes, 32),
    root: root === NO_PAGE ? undefined : uint(bytes, 40),
  }
  if (tree.depth > 32 || (tree.root === undefined) !== (tree.depth === 0)) {
    throw new Malformed(`has a depth of ${tree.depth}`)
  }
  return tree
}

/** @throws Malformed when it is not the page of this number, or no page of a tree */
function checkHeader(page: Buffer, number: number, kind: number): void {
  if (uint(page, 0) !== number) throw new Malformed('holds another page')
  if ((page.readUInt16LE(18) & (BRANCH | LEAF | OVERFLOW | LEAF2)) !== kind) throw new Malformed('is of another kind')
}

function nodeOffsets(page: Buffer): number[] {
  const [lower, upper] = [page.readUInt16LE(20), page.readUInt16LE(22)]
  const count = lower >> 1
  if (lower % 2 !== 0 || upper < lower || PAGE_HEADER + upper > page.length) throw new Malformed('has wrong bounds')
  return Array.from({ length: count }, (_, index) => {
    const at = PAGE_HEADER + page.readUInt16LE(PAGE_HEADER + index * 2)
    if (at < PAGE_HEADER + upper || at + NODE_HEADER > page.length) throw new Malformed('points outside of itself')
    return at
  })
}

/** The records of a leaf, in its order. */
export function parseLeaf(page: Buffer, number: number): Node[] {
  checkHeader(page, number, LEAF)
  return nodeOffsets(page).map((at) => {
    const flags = page.readUInt16LE(at + 4)
    const key = at + NODE_HEADER
    const data = key + page.readUInt16LE(at + 6)
    const size = page.readUInt32LE(at)
    const end = data + (flags & F_BIGDATA ? 24 : size)
    if (end > page.length || flags > (F_BIGDATA | F_SUBDATA | F_DUPDATA)) throw new Malformed('has a wrong record')
    return { flags, key: page.subarray(key, data), data: page.subarray(data, end), size }
  })
}

/** Where the pages of a value are that has pages of its own. */
export function parseOverflow({ data, size }: Node, pageSize: number): { first: number; pages: number; size: number } {
  const [first, pages] = [uint(data, 0), uint(data, 16)]
  if (pages !== Math.floor((PAGE_HEADER - 1 + size) / pageSize) + 1) throw new Malformed('has a wrong length')
  return { first, pages, size }
}

/** The value in its own pages. */
export function overflowValue(pages: Buffer, number: number, size: number): Buffer {
  checkHeader(pages, number, OVERFLOW)
  return pages.subarray(PAGE_HEADER, PAGE_HEADER + size)
}

export function parseBranch(page: Buffer, number: number): Child[] {
  checkHeader(page, number, BRANCH)
  return nodeOffsets(page).map((at, index) => {
    const end = at + NODE_HEADER + page.readUInt16LE(at + 6)
    if (end > page.length) throw new Malformed('has a key that ends outside')
    return {
      page: page.readUInt32LE(at) + page.readUInt16LE(at + 4) * 2 ** 32,
      key: index === 0 ? Buffer.alloc(0) : page.subarray(at + NODE_HEADER, end),
    }
  })
}

/** A list of free pages: single ones, and blocks as a negated length before their first page. */
export function* freePages(value: Buffer): Generator<[first: number, pages: number]> {
  if (value.length < 8) throw new Malformed('is cut off')
  const count = uint(value, 0)
  if (value.length < (count + 1) * 8) throw new Malformed('is longer than its record')
  for (let index = 1; index <= count; index++) {
    const entry = value.readBigInt64LE(index * 8)
    if (entry === 0n) continue
    if (entry > 0n) yield [Number(entry), 1]
    else {
      if (++index > count) throw new Malformed('ends within a block')
      yield [uint(value, index * 8), Number(-entry)]
    }
  }
}

/** @returns below 0, 0 or above; `undefined` for an order that is not known here */
export function compareKeys(tree: Pick<Tree, 'flags'>, a: Buffer, b: Buffer): number | undefined {
  if (tree.flags & REVERSE_KEY) return undefined
  if ((tree.flags & INTEGER_KEY) === 0) return Buffer.compare(a, b)
  if (a.length !== b.length || (a.length !== 8 && a.length !== 4)) return undefined
  return a.length === 8 ? uint(a, 0) - uint(b, 0) : a.readUInt32LE() - b.readUInt32LE()
}

/**
 * Gives a copy the one snapshot that it holds, as LMDB itself does when it goes back to an earlier one: in both meta
 * pages, and as on disk.
 * @param pages its first two pages
 */
export function writeMetas(pages: Buffer, { raw, pageSize, transaction }: Meta): void {
  const meta = Buffer.from(raw.subarray(PAGE_HEADER))
  meta.writeUInt32LE(MAGIC, 0)
  meta.writeUInt32LE(DATA_VERSION, 4)
  meta.writeUInt16LE(meta.readUInt16LE(28) & ~UNFLUSHED, 28)
  for (const number of [transaction, Math.max(transaction - 1, 0)]) {
    const at = (number % 2) * pageSize
    // Behind it lies what was flushed before, which is none of this copy's.
    pages.fill(0, at, at + pageSize)
    pages.writeUInt32LE(number % 2, at)
    pages.writeUInt16LE(META, at + 18)
    meta.writeUIntLE(number, 128, 6)
    meta.copy(pages, at + PAGE_HEADER)
  }
}

function uint(bytes: Buffer, at: number): number {
  if (bytes.readUInt16LE(at + 6) !== 0) throw new Malformed('holds a number beyond what a file can have')
  return bytes.readUIntLE(at, 6)
}

import type { CheckedDatabase } from '../../storage/lmdb/checked-records.ts'
import type { LogHead } from './contract.ts'

/** Name of the LMDB database that holds the logs of all spaces. */
export const STATE_DATABASE = 'state-log'
/** Digits of a revision in a key, so that keys sort as numbers do. */
export const DIGITS = 16

/** The head counts what must be there, so that records that a damaged page hides are missed. */
export interface StoredHead extends LogHead {
  size: number
  /** The lowest revision that a record holds. Records hold several, so it may be below `floor`. */
  first: number
  /** The storage that wrote it: the one that finds its own name may continue the epoch. */
  owner?: string
}

export const headKey = (space: string): string => `${space}/head/`
export const valueKey = (space: string, key: string): string => `${space}/key/${key}`
export const damagedKey = (space: string, key: string): string => `${space}/damaged/${key}`
export const recordKey = (space: string, revision: number): string =>
  `${space}/log/${`${revision}`.padStart(DIGITS, '0')}`

/** The first string after all that start so: the prefix ends in a slash, and `0` follows it. */
export const after = (prefix: string): string => `${prefix.slice(0, -1)}0`

/** What the records of a space hold, to be compared with what its head counts. */
interface SpaceContent {
  head?: StoredHead
  keys: number
  commits: number
  /** The highest revision that any record knows of. */
  revision: number
}

function contentOf(database: CheckedDatabase<string, string>): Map<string, SpaceContent> {
  const spaces = new Map<string, SpaceContent>()
  for (const { key, value } of database.findRange()) {
    const [space = '', part] = key.split('/', 2)
    const content = spaces.get(space) ?? { keys: 0, commits: 0, revision: 0 }
    spaces.set(space, content)
    let revision = 0
    if (part === 'head') {
      content.head = JSON.parse(value) as StoredHead
      revision = content.head.revision
    } else if (part === 'key') {
      content.keys++
      revision = Number.parseInt(value, 10)
    } else if (part === 'log') {
      const commits = value.split('\n').length
      content.commits += commits
      revision = Number(key.slice(-DIGITS)) + commits - 1
    }
    content.revision = Math.max(content.revision, revision)
  }
  return spaces
}

/** What is missing, one line each; empty when every space is whole. */
export function missingIn(database: CheckedDatabase<string, string>): string[] {
  return Array.from(contentOf(database), ([space, content]) => missing(space, content)).filter((line) => line !== '')
}

function missing(space: string, { head, keys, commits, revision }: SpaceContent): string {
  if (!head) return `space '${space}' has no head`
  if (head.revision < revision) return `space '${space}' has a head of revision ${head.revision} of ${revision}`
  if (head.size !== keys) return `space '${space}' has ${keys} of ${head.size} keys`
  const expected = head.revision - head.first + 1
  return expected === commits ? '' : `space '${space}' has ${commits} of ${expected} commits in its log`
}

/**
 * After a salvage, in one transaction: a space of which something is missing, or may be of before, goes on with what is
 * there, without its history and without the epochs of before. A replica at a position in it therefore gets everything
 * again, for it may hold what is lost here.
 */
export function repairSpaces(database: CheckedDatabase<string, string>): void {
  database.raw.transactionSync(() => {
    for (const [space, content] of contentOf(database)) {
      if (database.salvaged !== 'restored' && missing(space, content) === '') continue
      const { head, keys, revision } = content
      const start = `${space}/log/`
      for (const key of [...database.getKeys({ start, end: after(start) })]) database.remove(key)
      const mended: StoredHead = {
        epoch: head?.epoch ?? '0',
        revision,
        floor: revision + 1,
        first: revision + 1,
        epochs: [],
        size: keys,
      }
      database.put(headKey(space), JSON.stringify(mended))
    }
    database.markRepaired()
  })
}

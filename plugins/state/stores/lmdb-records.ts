import { crc32 } from 'node:zlib'
import type { Database } from 'lmdb'
import type { LogHead } from '../log.ts'

/** Name of the LMDB database that holds the logs of all spaces. */
export const STATE_DATABASE = 'state-log'
/** Digits of a revision in a key, so that keys sort as numbers do. */
export const DIGITS = 16

/** The head counts what must be there, so that records that a damaged page hides are missed. */
export interface StoredHead extends LogHead {
  size: number
  /**
   * The lowest revision that a record holds. Records hold several, so it may be below `floor`; it is `floor` where it
   * is absent, which was written when each record held one.
   */
  first?: number
  /** The storage that wrote it: the one that finds its own name may continue the epoch. */
  owner?: string
}

/** A checksum over key and text: LMDB checks neither, and a flipped bit would be handed out as a value. */
export function seal(key: string, text: string): string {
  return `${checksum(key, text)} ${text}`
}

/** @returns the text; `undefined` when it is not what was sealed under this key */
export function unseal(key: string, sealed: string): string | undefined {
  const space = sealed.indexOf(' ')
  const text = sealed.slice(space + 1)
  return sealed.slice(0, space) === checksum(key, text) ? text : undefined
}

// Neither holds a control character unescaped, so that no other pair gives the same line.
const checksum = (key: string, text: string) => crc32(`${key}\n${text}`).toString(36)

export const headKey = (space: string): string => `${space}/head/`
export const valueKey = (space: string, key: string): string => `${space}/key/${key}`
export const damagedKey = (space: string, key: string): string => `${space}/damaged/${key}`
export const recordKey = (space: string, revision: number): string =>
  `${space}/log/${`${revision}`.padStart(DIGITS, '0')}`

/** The first string after all that start so: the prefix ends in a slash, and `0` follows it. */
export const after = (prefix: string): string => `${prefix.slice(0, -1)}0`

export interface VerifyReport {
  spaces: number
  records: number
  /** What is wrong, one line each; empty when all is well. At most a few, for a person to read. */
  problems: string[]
}

const MOST_PROBLEMS = 20

/** Reads everything, checks every checksum, and compares what is there with what the heads count. */
export function verifyStateDatabase(database: Database<string, string>): VerifyReport {
  const problems: string[] = []
  const note = (problem: string) => problems.length < MOST_PROBLEMS && problems.push(problem)
  const counted = new Map<string, { head?: StoredHead; keys: number; log: number }>()
  let records = 0
  for (const { key, value } of database.getRange()) {
    records++
    const [space = '', part] = key.split('/', 2)
    const count = counted.get(space) ?? { keys: 0, log: 0 }
    counted.set(space, count)
    const text = unseal(key, value)
    if (text === undefined) note(`'${key}' does not have its checksum`)
    else if (part === 'head') count.head = JSON.parse(text) as StoredHead
    if (part === 'key') count.keys++
    if (part === 'log' && text !== undefined) count.log += text.split('\n').length
  }
  for (const [space, { head, keys, log }] of counted) {
    if (!head) note(`space '${space}' has no head`)
    else if (head.size !== keys) note(`space '${space}' has ${keys} of ${head.size} keys`)
    else if (head.revision - (head.first ?? head.floor) + 1 !== log) {
      note(`space '${space}' has ${log} of ${head.revision - (head.first ?? head.floor) + 1} commits in its log`)
    }
  }
  return { spaces: counted.size, records, problems }
}

/** Where something is wrong and what; the database is `undefined` where the file itself is meant. */
export interface Problem {
  database?: string
  page?: number
  /** The key of the record, as text. */
  key?: string
  what: string
  /** What it is part of can be made again. */
  disposable?: boolean
  /**
   * `record`: LMDB can read and write around it; one record is not what was written. `structure`: LMDB may hide
   * records, write over them, or end the process when it comes there.
   */
  kind: 'record' | 'structure'
}

/** A broken record of a cache is a miss, and nothing to stop for. */
export const isDamage = ({ kind, disposable }: Problem): boolean => kind === 'structure' || disposable !== true

/** What is wrong, on one line for the log; without the key, which may be a name or belong to a session. */
export function describeProblem({ database, page, what }: Problem): string {
  const place = database === undefined ? 'the file' : `'${database}'`
  return `${place}${page === undefined ? '' : `, page ${page}`}: ${what}`
}

import { createHash } from 'node:crypto'
import { isDeepStrictEqual } from 'node:util'
import type { StoredAccount } from '../../plugins/accounts/account-store.ts'
import type { DeadLetter } from '../../plugins/cache/write-behind/journal.ts'
import type { StoredSession } from '../../plugins/session/stores/contract.ts'
import { sizeOf } from '../../plugins/state/log/codec.ts'
import type { Batch, LogRecord, LogState, StateLog, WrittenEntry } from '../../plugins/state/log/contract.ts'
import { sameJson } from '../../plugins/state/values/reducer.ts'
import { StorageUnavailableError } from '../../plugins/support/errors.ts'
import { randomText } from '../../plugins/support/random.ts'
import type { StoredToken } from '../../plugins/tokens/token-store.ts'
import {
  type ExportRecord,
  kindOf,
  type RecordKind,
  type StoredKey,
  type StoredLetter,
  type StoredSpace,
} from './format.ts'
import type { Stores } from './stores.ts'

/** Operations of one commit, as everywhere. */
const OPS = 128
/** Records that are written at the same time. */
const TOGETHER = 64
/** How often servers on the same storage may write to a space first. */
const MOST_ATTEMPTS = 20

export interface Written {
  /** Records that are there now and were not before, or otherwise. */
  written: number
  /** Those that were there already, or that have ended meanwhile. */
  same: number
  /** Accounts whose name another account has here. */
  taken: string[]
}

/**
 * Writes records into stores. Writing them once more changes nothing, so an import may be repeated from any position.
 *
 * No revision goes back. A space that stands behind the exported one is replaced as a whole, under a new epoch, and
 * goes on with the exported count; if it was never written to, its keys keep their revisions. In one that stands
 * further, keys are set by commits like any other.
 */
export class RecordWriter {
  readonly #stores: Stores
  readonly #now: () => number
  readonly #spaces = new Map<string, SpaceWriter>()
  /** Digests of the dead letters that are there, by writer. */
  readonly #letters = new Map<string, Set<string>>()
  /** A space that will be replaced once all of its keys are known. */
  #collected: { space: StoredSpace; keys: StoredKey[] } | undefined

  constructor(stores: Stores, now: () => number) {
    this.#stores = stores
    this.#now = now
  }

  /** Of the records so far, how many of the latest are not written yet: they wait for the rest of their space. */
  get held(): number {
    return this.#collected ? 1 + this.#collected.keys.length : 0
  }

  async write(records: readonly ExportRecord[]): Promise<Written> {
    const total: Written = { written: 0, same: 0, taken: [] }
    // Records of a kind stand together, and so do the keys of a space.
    for (const [kind, some] of runs(records, kindOf)) {
      if (kind !== 'key') add(total, await this.finish())
      add(total, await this.#writeKind(kind, some))
    }
    return total
  }

  /** Writes what is held: no more records follow. */
  async finish(): Promise<Written> {
    const total: Written = { written: 0, same: 0, taken: [] }
    if (!this.#collected) return total
    const { space, keys } = this.#collected
    const written = await this.#space(space.name).adopt(space.revision, keys)
    this.#collected = undefined
    return { ...total, written: written + 1, same: keys.length - written }
  }

  async close(): Promise<void> {
    for (const space of this.#spaces.values()) await space.close()
  }

  async #writeKind(kind: RecordKind, records: readonly ExportRecord[]): Promise<Written> {
    const of = <T>(): T[] => records.map((record) => (record as Record<RecordKind, unknown>)[kind] as T)
    switch (kind) {
      case 'account':
        return each(of<StoredAccount>(), (account) => this.#account(account))
      case 'token':
        return each(of<StoredToken>(), (token) => this.#token(token))
      case 'session':
        return each(of<StoredSession>(), (session) => this.#session(session))
      case 'letter':
        return this.#writeLetters(of<StoredLetter>())
      case 'space':
        return this.#writeSpaces(of<StoredSpace>())
      case 'key':
        return this.#writeKeys(of<StoredKey>())
    }
  }

  async #account(account: StoredAccount): Promise<boolean | 'taken'> {
    const { accounts } = this.#stores
    if (await accounts.create(account)) return true
    const there = await accounts.get(account.id)
    if (!there) return 'taken'
    if (isDeepStrictEqual({ ...there }, account)) return false
    const { id, ...change } = account
    const updated = await accounts.update(id, change)
    return typeof updated === 'object' ? true : 'taken'
  }

  async #token(token: StoredToken): Promise<boolean> {
    const { tokens } = this.#stores
    if (await tokens.find(token.digest)) return false
    return tokens.create(token, Number.MAX_SAFE_INTEGER)
  }

  async #session(session: StoredSession): Promise<boolean> {
    const now = this.#now()
    if (session.expires <= now) return false
    const { outcome } = await this.#stores.sessions.create(session, { now, login: false, once: true })
    return outcome === 'created'
  }

  async #writeLetters(letters: readonly StoredLetter[]): Promise<Written> {
    const total: Written = { written: 0, same: 0, taken: [] }
    for (const [writer, some] of runs(letters, (letter) => letter.writer)) {
      const there = await this.#lettersOf(writer)
      const fresh = some.flatMap(({ id, namespace, key, data, reason, at }): DeadLetter[] => {
        const letter = { id, namespace: this.#stores.bucketOf(namespace, key), key, reason, at }
        const bytes = Buffer.from(data, 'base64')
        const digest = digestOf({ ...letter, data: bytes })
        if (there.has(digest)) return []
        there.add(digest)
        return [{ ...letter, data: bytes }]
      })
      if (fresh.length > 0) await this.#stores.journal.adoptLetters(writer, fresh)
      total.written += fresh.length
      total.same += some.length - fresh.length
    }
    return total
  }

  async #lettersOf(writer: string): Promise<Set<string>> {
    const known = this.#letters.get(writer) ?? new Set<string>()
    if (!this.#letters.has(writer)) {
      for await (const letters of this.#stores.journal.letters(writer)) {
        for (const letter of letters) known.add(digestOf(letter))
      }
      this.#letters.set(writer, known)
    }
    return known
  }

  async #writeSpaces(spaces: readonly StoredSpace[]): Promise<Written> {
    const total: Written = { written: 0, same: 0, taken: [] }
    for (const space of spaces) {
      add(total, await this.finish())
      if (await this.#space(space.name).isBehind(space.revision)) this.#collected = { space, keys: [] }
      else total.same++
    }
    return total
  }

  async #writeKeys(keys: readonly StoredKey[]): Promise<Written> {
    const total: Written = { written: 0, same: 0, taken: [] }
    for (const [name, some] of runs(keys, ({ space }) => space)) {
      if (this.#collected?.space.name === name) {
        this.#collected.keys.push(...some)
        continue
      }
      add(total, await this.finish())
      const written = await this.#space(name).write(some)
      add(total, { written, same: some.length - written, taken: [] })
    }
    return total
  }

  #space(name: string): SpaceWriter {
    const space = this.#spaces.get(name) ?? new SpaceWriter(name, this.#stores.openLog(name), this.#now)
    this.#spaces.set(name, space)
    return space
  }
}

/** By what a letter is: its number is another one in another storage. */
function digestOf({ namespace, key, data, reason, at }: Omit<DeadLetter, 'id'>): string {
  const hash = createHash('sha256').update(JSON.stringify([namespace, key, reason, at]))
  return hash.update(data).digest('base64url')
}

/** Writes keys of a space, beside servers that write to it as well. */
class SpaceWriter {
  readonly #name: string
  readonly #log: StateLog
  readonly #now: () => number
  #state: LogState | undefined

  constructor(name: string, log: StateLog, now: () => number) {
    this.#name = name
    this.#log = log
    this.#now = now
  }

  async isBehind(revision: number): Promise<boolean> {
    return (await this.#loaded()).revision < revision
  }

  /**
   * Sets keys by commits.
   * @returns how many keys were not so before
   */
  async write(keys: readonly StoredKey[]): Promise<number> {
    for (let attempt = 0; attempt < MOST_ATTEMPTS; attempt++) {
      const state = await this.#loaded()
      const fresh = this.#fresh(state, keys)
      if (fresh.length === 0) return 0
      const batch = this.#batch(state, fresh)
      if ((await this.#log.commit(state, batch)) === 'committed') {
        for (const [key, entry] of batch.writes) if (entry) state.entries.set(key, entry)
        this.#state = { ...state, revision: state.revision + batch.records.length }
        return fresh.length
      }
      this.#state = undefined
    }
    throw this.#neverFirst()
  }

  /**
   * Replaces the space by what is there and these keys, so that it stands at `revision`.
   * @param keys all of the space that they come from
   * @returns how many keys were not so before
   */
  async adopt(revision: number, keys: readonly StoredKey[]): Promise<number> {
    for (let attempt = 0; attempt < MOST_ATTEMPTS; attempt++) {
      const state = await this.#loaded()
      // Servers have written more meanwhile.
      if (state.revision >= revision) return this.#writeAll(keys)
      const fresh = this.#fresh(state, keys)
      const entries = new Map<string, WrittenEntry>()
      for (const [key, entry] of state.entries) entries.set(key, { ...entry, json: JSON.stringify(entry.value) })
      for (const { key, value, revision: own, expiresAt } of fresh) {
        const json = JSON.stringify(value)
        // A key that was here before may have had a later revision than its own.
        const at = state.revision === 0 ? Math.min(own, revision) : revision
        const expiry = expiresAt === undefined ? {} : { expiresAt }
        entries.set(key, { value, revision: at, bytes: sizeOf(key, json), json, ...expiry })
      }
      this.#state = undefined
      const replacement = { cause: 'restore' as const, tx: randomText(12), entries, after: revision - 1 }
      if ((await this.#log.replace(state, replacement)) === 'committed') return fresh.length
    }
    throw this.#neverFirst()
  }

  async #writeAll(keys: readonly StoredKey[]): Promise<number> {
    let written = 0
    for (let start = 0; start < keys.length; start += TOGETHER * OPS) {
      written += await this.write(keys.slice(start, start + TOGETHER * OPS))
    }
    return written
  }

  async #loaded(): Promise<LogState> {
    this.#state ??= await this.#log.load()
    return this.#state
  }

  /** Those that are not there as they are given, and have not ended. */
  #fresh({ entries }: LogState, keys: readonly StoredKey[]): StoredKey[] {
    return keys.filter(({ key, value, expiresAt = Number.POSITIVE_INFINITY }) => {
      const there = entries.get(key)
      const same = there && sameJson(there.value, value) && (there.expiresAt ?? Number.POSITIVE_INFINITY) === expiresAt
      return !same && expiresAt > this.#now()
    })
  }

  #neverFirst() {
    return new StorageUnavailableError(`space '${this.#name}' was written to by servers each time`)
  }

  async close(): Promise<void> {
    await this.#log.close()
  }

  #batch({ epoch, revision: base, entries }: LogState, keys: readonly StoredKey[]): Batch {
    const at = this.#now()
    const records: LogRecord[] = []
    const writes = new Map<string, WrittenEntry>()
    let added = 0
    for (let start = 0; start < keys.length; start += OPS) {
      const prev = base + records.length
      const revision = prev + 1
      const ops = keys.slice(start, start + OPS).map(({ key, value, expiresAt }) => {
        const json = JSON.stringify(value)
        const expiry = expiresAt === undefined ? {} : { expiresAt }
        if (!entries.has(key) && !writes.has(key)) added++
        writes.set(key, { value, revision, bytes: sizeOf(key, json), json, ...expiry })
        const ttl = expiresAt === undefined ? {} : { ttl: Math.max(1, Math.ceil(expiresAt - at)) }
        return { op: 'set' as const, key, value, ...ttl }
      })
      records.push({ commit: { space: this.#name, epoch, prev, revision, ops, at }, tx: randomText(12) })
    }
    return { records, writes, added }
  }
}

function add(total: Written, { written, same, taken }: Written): void {
  total.written += written
  total.same += same
  total.taken.push(...taken)
}

/** Neighbours that are alike, together. */
function runs<Item, Key>(items: readonly Item[], keyOf: (item: Item) => Key): [Key, Item[]][] {
  const found: [Key, Item[]][] = []
  for (const item of items) {
    const key = keyOf(item)
    const last = found.at(-1)
    if (last && last[0] === key) last[1].push(item)
    else found.push([key, [item]])
  }
  return found
}

async function each<Item extends object>(
  items: readonly Item[],
  write: (item: Item) => Promise<boolean | 'taken'>,
): Promise<Written> {
  const total: Written = { written: 0, same: 0, taken: [] }
  for (let start = 0; start < items.length; start += TOGETHER) {
    const some = items.slice(start, start + TOGETHER)
    const outcomes = await Promise.all(some.map(write))
    for (const [i, outcome] of outcomes.entries()) {
      if (outcome === 'taken') total.taken.push((some[i] as Partial<StoredAccount>).username ?? '')
      else if (outcome) total.written++
      else total.same++
    }
  }
  return total
}

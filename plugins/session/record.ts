import type { Sealer } from './seal.ts'
import type { SessionChange, StoredSession } from './session-store.ts'
import { ownerOf } from './token.ts'

/** What a session holds, by top-level key; each value is JSON. */
export type SessionValues = Record<string, unknown>

/** Where a login came from, for the user's list of devices. */
export interface Device {
  ip?: string
  userAgent?: string
}

/** A session that was loaded or created, with the texts that its next save is compared to. */
export interface OpenSession {
  /** Key of the record, and the session's public handle. */
  readonly id: string
  readonly userId?: string
  readonly owner?: string
  readonly created: number
  /** When the user last proved who they are. */
  readonly authenticated?: number
  readonly ends: number
  readonly logins: number
  readonly device: Device
  seen: number
  expires: number
  version: number
  /** JSON of each value as the store has it. */
  texts: Record<string, string>
  /** It was sealed under a former key: the next write seals all of it anew. */
  stale: boolean
}

interface Meta extends Device {
  user?: string
  authenticated?: number
}

/** Names of a record's fields: whose it is and what is known of the login, and `d.<key>` for each value. */
const META = 'm'
const VALUE = 'd.'

/** Between sessions as the engine has them and records as stores keep them. */
export class RecordCodec {
  readonly #sealer: Sealer | undefined

  constructor(sealer?: Sealer) {
    this.#sealer = sealer
  }

  /** `undefined` when the record was sealed under a key that is not known any more, or was tampered with. */
  toOpen(stored: StoredSession): OpenSession | undefined {
    const { fields, owner } = stored
    const texts: Record<string, string> = {}
    let meta: Meta = {}
    let stale = false
    for (const name in fields) {
      let text = fields[name]
      if (this.#sealer && text !== undefined) {
        stale ||= this.#sealer.isStale(text)
        text = this.#sealer.open(place(stored.id, name), text)
      }
      if (text === undefined) return undefined
      if (name.startsWith(VALUE)) texts[name.slice(VALUE.length)] = text
      else meta = JSON.parse(text) as Meta
    }
    const { user, authenticated, ...device } = meta
    // Every load comes by: set one by one, not spread.
    const open: { -readonly [Key in keyof OpenSession]: OpenSession[Key] } = {
      id: stored.id,
      created: stored.created,
      seen: stored.seen,
      expires: stored.expires,
      ends: stored.ends,
      version: stored.version,
      logins: stored.logins,
      device,
      texts,
      stale,
    }
    if (owner !== undefined) open.owner = owner
    if (user !== undefined) open.userId = user
    if (authenticated !== undefined) open.authenticated = authenticated
    return open
  }

  toStored(open: OpenSession): StoredSession {
    return {
      id: open.id,
      created: open.created,
      seen: open.seen,
      expires: open.expires,
      ends: open.ends,
      version: open.version,
      logins: open.logins,
      fields: this.#fields(open, open.texts),
      ...(open.userId === undefined ? {} : { owner: ownerOf(open.userId) }),
    }
  }

  /** What of the record must change so that it holds `texts`. */
  change(open: OpenSession, texts: Record<string, string>): Pick<SessionChange, 'set' | 'remove'> {
    const { set, remove } = difference(open.texts, texts)
    const removed = remove.map((key) => VALUE + key)
    if (open.stale) return { set: this.#fields(open, texts), remove: removed }
    const sealed: Record<string, string> = {}
    for (const key in set) this.#put(sealed, open.id, VALUE + key, set[key] as string)
    return { set: sealed, remove: removed }
  }

  #fields(open: OpenSession, texts: Record<string, string>): Record<string, string> {
    const { id, userId, device, authenticated } = open
    const meta: Meta = {
      ...device,
      ...(userId === undefined ? {} : { user: userId }),
      ...(authenticated === undefined ? {} : { authenticated }),
    }
    const fields: Record<string, string> = {}
    this.#put(fields, id, META, JSON.stringify(meta))
    for (const key in texts) this.#put(fields, id, VALUE + key, texts[key] as string)
    return fields
  }

  #put(fields: Record<string, string>, id: string, name: string, text: string): void {
    fields[name] = this.#sealer ? this.#sealer.seal(place(id, name), text) : text
  }
}

/** What a sealed text is bound to. */
function place(id: string, name: string): string {
  return `${id} ${name}`
}

/** The values out of their texts; each call makes fresh ones, in a new object or in `values`. */
export function parseValues(texts: Record<string, string>, values: SessionValues = {}): SessionValues {
  for (const key in texts) values[key] = JSON.parse(texts[key] as string)
  return values
}

/** JSON of each value; what JSON cannot say (undefined, functions) is not there. */
export function stringifyValues(values: SessionValues): Record<string, string> {
  const texts: Record<string, string> = {}
  for (const key of Object.keys(values)) {
    // An own `__proto__` is never the application's: it would become the prototype of whoever copies it.
    if (key === '__proto__') continue
    const text = JSON.stringify(values[key]) as string | undefined
    if (text !== undefined) texts[key] = text
  }
  return texts
}

/** What turned `before` into `after`. */
export function difference(before: Record<string, string>, after: Record<string, string>) {
  const set: Record<string, string> = {}
  for (const key in after) if (before[key] !== after[key]) set[key] = after[key] as string
  const remove = Object.keys(before).filter((key) => !(key in after))
  return { set, remove }
}

import { InvalidSessionValueError } from '../support/errors.ts'
import { lostPart, mayOverflow, nonFinitePlace } from '../support/json.ts'
import type { Sealer } from './encryption.ts'
import type { SessionChange, StoredSession } from './stores/contract.ts'
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
  ends: number
  readonly logins: number
  /** Milliseconds without a use after which it ends, when the login said so. */
  readonly idle?: number
  readonly device: Device
  seen: number
  expires: number
  version: number
  /** JSON of each value as the store has it. */
  texts: Readonly<Record<string, string>>
  /** It was sealed under a former key: the next write seals all of it again. */
  stale: boolean
}

interface Meta {
  user?: string
  authenticated?: number
  device?: Device
  idle?: number
}

/**
 * The meta of a session as it was read last, kept by who reads the session often: it hardly ever changes, and reading
 * it took longer than everything else of a session.
 */
export interface KnownMeta {
  text?: string | undefined
  meta?: Meta | undefined
}

/** Between sessions as the engine has them and records as stores keep them. */
export class RecordCodec {
  readonly #sealer: Sealer | undefined

  constructor(sealer?: Sealer) {
    this.#sealer = sealer
  }

  /**
   * `undefined` when the record was sealed under a key that is not known any more, was tampered with, or is damaged.
   * @param known of the same session, kept from one call to the next
   */
  toOpen(stored: StoredSession, known?: KnownMeta): OpenSession | undefined {
    const sealer = this.#sealer
    const fields = sealer ? unsealFields(stored, sealer) : stored.fields
    const meta = this.#readMeta(stored, known)
    if (!fields || !meta) return undefined
    const { user, authenticated, idle, device = {} } = meta
    const { owner } = stored
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
      texts: fields,
      stale: sealer !== undefined && isStale(stored, sealer),
    }
    if (owner !== undefined) open.owner = owner
    if (user !== undefined) open.userId = user
    if (authenticated !== undefined) open.authenticated = authenticated
    if (idle !== undefined) open.idle = idle
    return open
  }

  #readMeta({ id, meta: text }: StoredSession, known: KnownMeta = {}): Meta | undefined {
    if (!text) return {}
    if (known.text === text) return known.meta
    const opened = this.#sealer ? this.#sealer.open(metaOf(id), text) : text
    const meta = opened === undefined ? undefined : parseMeta(opened)
    if (meta) {
      known.text = text
      known.meta = meta
    }
    return meta
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
      meta: this.#meta(open),
      fields: this.#sealed(open.id, open.texts),
      ...(open.userId === undefined ? {} : { owner: ownerOf(open.userId) }),
    }
  }

  /** What of the record must change so that it holds `texts`. */
  change(open: OpenSession, texts: Record<string, string>): Pick<SessionChange, 'set' | 'remove' | 'meta'> {
    const { set, remove } = difference(open.texts, texts)
    if (open.stale) return { set: this.#sealed(open.id, texts), remove, meta: this.#meta(open) }
    return { set: this.#sealed(open.id, set), remove }
  }

  #meta({ id, userId, device, authenticated, idle }: OpenSession): string {
    const meta: Meta = {
      device,
      ...(userId === undefined ? {} : { user: userId }),
      ...(authenticated === undefined ? {} : { authenticated }),
      ...(idle === undefined ? {} : { idle }),
    }
    const text = JSON.stringify(meta)
    return this.#sealer ? this.#sealer.seal(metaOf(id), text) : text
  }

  #sealed(id: string, texts: Record<string, string>): Record<string, string> {
    if (!this.#sealer) return texts
    const sealed: Record<string, string> = {}
    for (const key in texts) sealed[key] = this.#sealer.seal(fieldOf(id, key), texts[key] as string)
    return sealed
  }
}

function parseMeta(text: string): Meta | undefined {
  try {
    const meta = JSON.parse(text) as Meta | null
    return typeof meta === 'object' && meta !== null ? meta : undefined
  } catch {
    return undefined
  }
}

/** What a sealed text is bound to. */
function metaOf(id: string): string {
  return `${id} meta`
}

function fieldOf(id: string, key: string): string {
  return `${id} field ${key}`
}

function unsealFields({ id, fields }: StoredSession, sealer: Sealer): StoredSession['fields'] | undefined {
  const opened: Record<string, string> = {}
  for (const key in fields) {
    const text = sealer.open(fieldOf(id, key), fields[key] as string)
    if (text === undefined) return undefined
    opened[key] = text
  }
  return opened
}

function isStale({ meta, fields }: StoredSession, sealer: Sealer): boolean {
  return (meta !== undefined && sealer.isStale(meta)) || Object.values(fields).some((text) => sealer.isStale(text))
}

/**
 * The values out of their texts; each call makes fresh ones, in a new object or in `values`.
 * @throws UnreadableSessionError when one of them is not what was written
 */
export function parseValues(texts: Readonly<Record<string, string>>, values: SessionValues = {}): SessionValues {
  for (const key in texts) values[key] = parsedValue(texts[key] as string)
  return values
}

/** The session is taken for none: to go on without one of its values could let in who was to be kept out. */
export class UnreadableSessionError extends Error {}

/** @throws UnreadableSessionError */
export function parsedValue(text: string): unknown {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (cause) {
    throw new UnreadableSessionError('a value of a session is no JSON', { cause })
  }
  if (mayOverflow(text) && nonFinitePlace(value) !== undefined) {
    throw new UnreadableSessionError('a value of a session holds a number that is none')
  }
  return value
}

/** JSON of a value; `undefined` for what JSON cannot say at all (undefined, functions). */
export function textOf(key: string, value: unknown): string | undefined {
  try {
    return JSON.stringify(value) as string | undefined
  } catch (cause) {
    throw new InvalidSessionValueError(key, `cannot be written (${(cause as Error).message})`, { cause })
  }
}

/**
 * JSON of a value.
 * @throws STATEFUL_INVALID_SESSION_VALUE with the path of the part that would come back as something else, or not at all
 */
function keptText(key: string, value: unknown): string | undefined {
  // First: what cannot be written is not walked through, and may have no end.
  const text = textOf(key, value)
  const lost = lostPart(value)
  if (lost) throw new InvalidSessionValueError(key + lost.path, `is ${lost.what}`)
  return text
}

/**
 * JSON of each value; `undefined` is not there.
 * @throws STATEFUL_INVALID_SESSION_VALUE
 */
export function stringifyValues(values: SessionValues): Record<string, string> {
  const texts: Record<string, string> = {}
  for (const key of Object.keys(values)) {
    // An own `__proto__` is never the application's: it would become the prototype of any copy.
    if (key === '__proto__') continue
    const text = keptText(key, values[key])
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

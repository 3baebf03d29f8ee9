import type { StoredSession } from './session-store.ts'
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
}

interface Meta extends Device {
  authenticated?: number
}

/** Names of a record's fields: the user, what is known of the login, and `d.<key>` for each value. */
const USER = 'u'
const META = 'm'
const VALUE = 'd.'

export function valueField(key: string): string {
  return VALUE + key
}

export function toOpen(stored: StoredSession): OpenSession {
  const { fields, owner, ...head } = stored
  const { authenticated, ...device } = JSON.parse(fields[META] ?? '{}') as Meta
  const texts: Record<string, string> = {}
  for (const name in fields) {
    if (name.startsWith(VALUE)) texts[name.slice(VALUE.length)] = fields[name] as string
  }
  return {
    id: head.id,
    created: head.created,
    seen: head.seen,
    expires: head.expires,
    ends: head.ends,
    version: head.version,
    logins: head.logins,
    device,
    texts,
    ...(owner === undefined ? {} : { owner }),
    ...(fields[USER] === undefined ? {} : { userId: fields[USER] }),
    ...(authenticated === undefined ? {} : { authenticated }),
  }
}

export function toStored(open: OpenSession): StoredSession {
  const meta: Meta = {
    ...open.device,
    ...(open.authenticated === undefined ? {} : { authenticated: open.authenticated }),
  }
  const fields: Record<string, string> = { [META]: JSON.stringify(meta) }
  if (open.userId !== undefined) fields[USER] = open.userId
  for (const [key, text] of Object.entries(open.texts)) fields[valueField(key)] = text
  return {
    id: open.id,
    created: open.created,
    seen: open.seen,
    expires: open.expires,
    ends: open.ends,
    version: open.version,
    logins: open.logins,
    fields,
    ...(open.userId === undefined ? {} : { owner: ownerOf(open.userId) }),
  }
}

/** The values out of their texts; each call makes fresh ones. */
export function parseValues(texts: Record<string, string>): SessionValues {
  const values: SessionValues = {}
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

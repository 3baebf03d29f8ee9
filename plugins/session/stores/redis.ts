import { RedisScript } from '../../storage/redis/script.ts'
import type { RedisStorage } from '../../storage/storage.ts'
import { StorageUnavailableError } from '../../support/errors.ts'
import {
  type Admission,
  type CreateOutcome,
  type FormerSession,
  LOGIN_COUNT_TTL,
  type SaveOutcome,
  type SessionChange,
  type SessionCount,
  type SessionStore,
  type StoredSession,
  TOMBSTONE_TTL,
} from '../session-store.ts'
import { bucketOf } from '../token.ts'
import { Turns } from './turns.ts'

/**
 * How long Redis keeps a record beyond its expiry: the sweep reads whose it was. Nobody can use it meanwhile;
 * what decides is the expiry in the record.
 */
const KEEP_AFTER_EXPIRY = 5 * 60_000
/** How often a script may find the owner's sessions changed since it was prepared. */
const MAX_ATTEMPTS = 32
const BUCKETS = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, '0'))
/** Fields of the record that are not the store's own. */
const FIELD = 'f:'

const saveScript = RedisScript.fromFile(new URL('./save.lua', import.meta.url), 4)
const expireScript = RedisScript.fromFile(new URL('./expire.lua', import.meta.url), 4)
const createScripts = new Map<number, RedisScript>()
const revokeScripts = new Map<number, RedisScript>()

/** The script for that many keys: a Cluster wants each key named. */
function forKeys(scripts: Map<number, RedisScript>, file: string, keys: number): RedisScript {
  const script = scripts.get(keys) ?? RedisScript.fromFile(new URL(file, import.meta.url), keys)
  scripts.set(keys, script)
  return script
}

/**
 * Sessions on Redis, shared by instances.
 *
 * Keys, `bb` being the bucket: `s:{bb}:<id>` the record (or its tombstone), `x:{bb}` all sessions by expiry,
 * `u:{bb}:<owner>` an owner's sessions by expiry, `o:{bb}` owners by their latest expiry, `l:{bb}:<owner>`
 * the owner's number of logins. Each script stays in one slot and names every key; nothing scans.
 */
export class RedisSessionStore implements SessionStore {
  readonly #client: RedisStorage['client']
  readonly #prefix: string
  /** Logins under a limit, one after the other for each owner: in parallel each undoes the others' choice of victims. */
  readonly #logins = new Turns()

  constructor(storage: Pick<RedisStorage, 'client' | 'prefix'>) {
    this.#client = storage.client
    this.#prefix = `${storage.prefix}session:`
  }

  /** Without `async`, as all on the way of a read: each layer of promises costs. */
  load(id: string, now: number): Promise<StoredSession | 'ended' | undefined> {
    return this.#client
      .hgetall(this.#record(id))
      .then((record) => parse(id, record, now) ?? (Number(record['gone'] ?? 0) > now ? 'ended' : undefined))
  }

  create(session: StoredSession, admission: Admission): Promise<CreateOutcome> {
    return this.#create(session, { ...admission, requireLive: false })
  }

  async rotate(
    former: FormerSession,
    session: StoredSession,
    admission: Admission & { requireLive: boolean },
  ): Promise<CreateOutcome> {
    const sameSlot = bucketOf(former.id) === bucketOf(session.id)
    // Another owner's index would be one key more than the script knows.
    if (sameSlot && (former.owner === undefined || former.owner === session.owner)) {
      return this.#create(session, admission, former.id)
    }
    if (admission.requireLive && typeof (await this.load(former.id, admission.now)) !== 'object') {
      return { outcome: 'gone' }
    }
    const outcome = await this.#create(session, { ...admission, requireLive: false })
    if (outcome.outcome === 'created') await this.revoke(former.id, admission.now)
    return outcome
  }

  async save(id: string, owner: string | undefined, change: SessionChange, now: number): Promise<SaveOutcome> {
    return (await saveScript.run(this.#client, this.#keys(id, owner), [
      id,
      owner ?? '',
      now,
      change.seen,
      change.expires,
      KEEP_AFTER_EXPIRY,
      change.version ?? '',
      change.remove.length,
      ...change.remove.map((name) => FIELD + name),
      ...pairs(change.set),
    ])) as SaveOutcome
  }

  async revoke(id: string, now: number): Promise<boolean> {
    const owner = ownerIn(await this.#client.hget(this.#record(id), 'i')) ?? ''
    const ended = await this.#revoke(bucketOf(id), owner, [id], now)
    return Array.isArray(ended) && ended.length > 0
  }

  async revokeOwner(owner: string, now: number, except = ''): Promise<string[]> {
    const ended: string[] = []
    for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt++) {
      const ids = await this.#ids(owner, now)
      const named = ids.filter((id) => id !== except)
      const result = await this.#revoke(bucketOf(owner), owner, named, now, { kept: except })
      if (Array.isArray(result)) return [...ended, ...result]
    }
    throw new StorageUnavailableError(`the user's sessions kept changing during ${MAX_ATTEMPTS} attempts to end them`)
  }

  async list(owner: string, now: number): Promise<StoredSession[]> {
    const ids = await this.#ids(owner, now)
    const records = await Promise.all(ids.map((id) => this.#client.hgetall(this.#record(id))))
    return ids.flatMap((id, index) => parse(id, records[index] ?? {}, now) ?? []).sort((a, b) => b.created - a.created)
  }

  async all(now: number): Promise<StoredSession[]> {
    const sessions: StoredSession[] = []
    // Bucket by bucket, so that what is under way at a time is bounded.
    for (const bucket of BUCKETS) {
      const ids = await this.#client.zrangebyscore(this.#key('x', bucket), `(${now}`, '+inf')
      const records = await Promise.all(ids.map((id) => this.#client.hgetall(this.#record(id))))
      sessions.push(...ids.flatMap((id, index) => parse(id, records[index] ?? {}, now) ?? []))
    }
    return sessions
  }

  async count(now: number): Promise<SessionCount> {
    const live = (index: string) =>
      Promise.all(BUCKETS.map((bucket) => this.#client.zcount(this.#key(index, bucket), `(${now}`, '+inf')))
    const [sessions, owners] = await Promise.all([live('x'), live('o')])
    return { sessions: sum(sessions), owners: sum(owners) }
  }

  async sweep(now: number, limit: number): Promise<StoredSession[]> {
    const due = await Promise.all(
      BUCKETS.map((bucket) =>
        this.#client.zrangebyscore(this.#key('x', bucket), '-inf', now, 'LIMIT', 0, Math.ceil(limit / 16)),
      ),
    )
    const expired = await Promise.all(
      due
        .flat()
        .slice(0, limit)
        .map((id) => this.#expire(id, now)),
    )
    // An owner whose latest expiry has passed has no live session, whatever became of the records.
    await Promise.all(BUCKETS.map((bucket) => this.#client.zremrangebyscore(this.#key('o', bucket), '-inf', now)))
    return expired.flatMap((session) => session ?? [])
  }

  async #expire(id: string, now: number): Promise<StoredSession | undefined> {
    const record = await this.#client.hgetall(this.#record(id))
    const owner = ownerIn(record['i'])
    const claimed = await expireScript.run(this.#client, this.#keys(id, owner), [id, owner ?? '', now])
    if (claimed !== 1) return undefined
    // A record that Redis has dropped already left nothing to tell but that it was there.
    return parse(id, record, Number.NEGATIVE_INFINITY) ?? unknownSession(id)
  }

  #create(
    session: StoredSession,
    admission: Admission & { requireLive: boolean },
    former = '',
  ): Promise<CreateOutcome> {
    const { owner } = session
    if (owner === undefined || !admission.limit) return this.#tryToCreate(session, admission, former)
    return this.#logins.take(owner, () => this.#tryToCreate(session, admission, former))
  }

  async #tryToCreate(
    session: StoredSession,
    admission: Admission & { requireLive: boolean },
    former: string,
  ): Promise<CreateOutcome> {
    const { now, login, limit } = admission
    const { id, owner } = session
    const [record, expiries, owned, owners] = this.#keys(id, owner)
    const bucket = bucketOf(id)
    let victims: string[] = []
    for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt++) {
      const keys = [
        record,
        expiries,
        owned,
        owners,
        this.#key('l', bucket, owner ?? ''),
        this.#record(former || id),
        ...victims.map((victim) => this.#record(victim)),
      ]
      const result = (await forKeys(createScripts, './create.lua', keys.length).run(this.#client, keys, [
        id,
        owner ?? '',
        now,
        session.created,
        session.seen,
        session.expires,
        session.ends,
        login ? 1 : 0,
        limit?.sessions ?? 0,
        limit?.action ?? '',
        former,
        admission.requireLive ? 1 : 0,
        session.expires - now + KEEP_AFTER_EXPIRY,
        TOMBSTONE_TTL,
        LOGIN_COUNT_TTL,
        session.logins,
        victims.length,
        ...victims,
        ...pairs(session.fields),
      ])) as ['created', number, string[]] | ['full'] | ['gone'] | ['again', number]
      if (result[0] === 'created') return { outcome: 'created', logins: result[1], evicted: result[2] }
      if (result[0] !== 'again') return { outcome: result[0] }
      const others = (await this.list(owner ?? '', now)).filter((other) => other.id !== former)
      victims = others
        .sort((a, b) => a.seen - b.seen)
        .slice(0, result[1])
        .map((other) => other.id)
    }
    throw new StorageUnavailableError(`the user's sessions kept changing during ${MAX_ATTEMPTS} attempts to log in`)
  }

  #revoke(bucket: string, owner: string, ids: string[], now: number, all?: { kept: string }): Promise<unknown> {
    const keys = [
      this.#key('x', bucket),
      this.#key('u', bucket, owner),
      this.#key('o', bucket),
      ...ids.map((id) => this.#record(id)),
    ]
    const script = forKeys(revokeScripts, './revoke.lua', keys.length)
    return script.run(this.#client, keys, [owner, now, TOMBSTONE_TTL, all ? 1 : 0, all?.kept ?? '', ...ids])
  }

  #ids(owner: string, now: number): Promise<string[]> {
    return this.#client.zrangebyscore(this.#key('u', bucketOf(owner), owner), `(${now}`, '+inf')
  }

  /** The record and the three indexes that it stands in. */
  #keys(id: string, owner = ''): [string, string, string, string] {
    const bucket = bucketOf(id)
    return [this.#record(id), this.#key('x', bucket), this.#key('u', bucket, owner), this.#key('o', bucket)]
  }

  #record(id: string): string {
    return this.#key('s', bucketOf(id), id)
  }

  #key(kind: string, bucket: string, name?: string): string {
    const key = `${this.#prefix}${kind}:{${bucket}}`
    return name === undefined ? key : `${key}:${name}`
  }
}

/**
 * A live session out of its record. Its fields: `t` expiry, last use and version, which change together; `i` what never
 * changes; `f:<name>` the rest. A client spends more on each text of an answer than on its length, so they are few.
 */
function parse(id: string, record: Record<string, string>, now: number): StoredSession | undefined {
  const times = record['t']
  const identity = record['i']
  if (times === undefined || identity === undefined) return undefined
  const [expires, seen, version] = times.split(' ')
  if (!(Number(expires) > now)) return undefined
  const [created, ends, logins, owner] = identity.split(' ')
  const fields: Record<string, string> = {}
  for (const name in record) {
    if (name.startsWith(FIELD)) fields[name.slice(FIELD.length)] = record[name] as string
  }
  const session: StoredSession = {
    id,
    created: Number(created),
    seen: Number(seen),
    expires: Number(expires),
    ends: Number(ends),
    version: Number(version),
    logins: Number(logins),
    fields,
  }
  if (owner) session.owner = owner
  return session
}

function ownerIn(identity: string | null | undefined): string | undefined {
  return identity?.split(' ')[3] || undefined
}

function unknownSession(id: string): StoredSession {
  return { id, created: 0, seen: 0, expires: 0, ends: 0, version: 0, logins: 0, fields: {} }
}

function pairs(fields: Record<string, string>): string[] {
  return Object.entries(fields).flatMap(([name, value]) => [FIELD + name, value])
}

function sum(numbers: number[]): number {
  return numbers.reduce((total, number) => total + number, 0)
}

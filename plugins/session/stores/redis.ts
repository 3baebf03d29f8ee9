import { chunked } from '../../storage/redis/client.ts'
import { evenWhenFull, MAX_KEYS, notWhenFull, RedisScript } from '../../storage/redis/script.ts'
import type { RedisStorage } from '../../storage/storage.ts'
import { StorageUnavailableError } from '../../support/errors.ts'
import type { RevocationBus } from '../events.ts'
import { bucketOf } from '../token.ts'
import {
  type Admission,
  type CreateOutcome,
  type Ended,
  type FormerSession,
  LOGIN_COUNT_TTL,
  type SaveOutcome,
  type SessionChange,
  type SessionCount,
  type SessionStore,
  type StoredSession,
  TOMBSTONE_TTL,
} from './contract.ts'
import { KeyedQueue } from './keyed-queue.ts'

/**
 * How long Redis keeps a record beyond its expiry: the sweep reads whose it was. It cannot be used meanwhile;
 * what decides is the expiry in the record.
 */
const KEEP_AFTER_EXPIRY = 5 * 60_000
/** How often a script may find the owner's sessions changed since it was prepared. */
const MAX_ATTEMPTS = 32
const BUCKETS = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, '0'))
/** Bytes that a record's head has at most: six numbers, an owner and what is between them. */
const HEAD_LENGTH = 192
/** What a record is while its session is remembered as ended: how, and until when. */
const TOMBSTONE = /^(ended|replaced) (\d+)$/

/** Sessions that one script can end, beside the indexes that they stand in. */
const MAX_ENDED = MAX_KEYS - 6

const createScript = RedisScript.fromFile(new URL('./create.lua', import.meta.url), notWhenFull)
const saveScript = RedisScript.fromFile(new URL('./save.lua', import.meta.url), notWhenFull)
// A use only overwrites numbers, so users who are logged in can go on, and log out, when memory is full.
const touchScript = RedisScript.fromFile(new URL('./save.lua', import.meta.url), evenWhenFull)
// A tombstone takes the place of the record, and is smaller.
const revokeScript = RedisScript.fromFile(new URL('./revoke.lua', import.meta.url), evenWhenFull)
const expireScript = RedisScript.fromFile(new URL('./expire.lua', import.meta.url), evenWhenFull)
const dueScript = RedisScript.fromFile(new URL('./due.lua', import.meta.url), evenWhenFull)
const countScript = RedisScript.fromFile(new URL('./count.lua', import.meta.url), evenWhenFull)

/**
 * Sessions on Redis, shared by instances.
 *
 * Keys, `bb` being the bucket: `s:{bb}:<id>` the record (or its tombstone), `x:{bb}` all sessions by expiry,
 * `u:{bb}:<owner>` an owner's sessions by expiry, `o:{bb}` owners by their latest expiry, `l:{bb}:<owner>`
 * the owner's number of logins. Each script stays in one slot and names every key; nothing scans.
 */
export class RedisSessionStore implements SessionStore {
  onUnreadable?: (error: unknown) => void
  bus?: () => RevocationBus
  readonly #client: RedisStorage['client']
  readonly #prefix: string
  /**
   * Logins under a limit, one after the other for each owner: in parallel each undoes the others' choice of victims.
   */
  readonly #logins = new KeyedQueue()

  constructor(storage: Pick<RedisStorage, 'client' | 'prefix'>, area = '') {
    this.#client = storage.client
    this.#prefix = `${storage.prefix}session:${area === '' ? '' : `${area}:`}`
  }

  /** Without `async`, as all on the way of a read: each layer of promises costs. */
  load(id: string, now: number): Promise<StoredSession | Ended | undefined> {
    return this.#client.get(this.#record(id)).then((record) => this.#parse(id, record, now))
  }

  create(session: StoredSession, admission: Admission): Promise<CreateOutcome> {
    return this.#create(session, { ...admission, requireLive: admission.once === true })
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
    if (outcome.outcome === 'created') await this.#revokeOne(former.id, admission.now, 'replaced')
    return outcome
  }

  async save(id: string, owner: string | undefined, change: SessionChange, now: number): Promise<SaveOutcome> {
    const script = Object.keys(change.set).length === 0 && change.meta === undefined ? touchScript : saveScript
    return (await script.run(this.#client, this.#keys(id, owner), [
      id,
      owner ?? '',
      now,
      change.seen,
      change.expires,
      KEEP_AFTER_EXPIRY,
      change.version ?? '',
      change.ends ?? '',
      change.meta ?? '',
      change.remove.length,
      ...change.remove.map(quoted),
      ...Object.entries(change.set).flatMap(([name, text]) => [quoted(name), text]),
    ])) as SaveOutcome
  }

  revoke(id: string, now: number): Promise<boolean> {
    return this.#revokeOne(id, now)
  }

  async #revokeOne(id: string, now: number, how: Ended = 'ended'): Promise<boolean> {
    const owner = ownerIn(await this.#client.getrange(this.#record(id), 0, HEAD_LENGTH)) ?? ''
    const ended = await this.#revoke(bucketOf(id), owner, [id], now, { how })
    return Array.isArray(ended) && ended.length > 0
  }

  async revokeOwner(owner: string, now: number, except = ''): Promise<string[]> {
    const ended: string[] = []
    for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt++) {
      const ids = await this.#ids(owner, now)
      const named = ids.filter((id) => id !== except)
      // If there are more than one script can name, all but the last go beforehand; the script makes sure that none is
      // left.
      const parts = chunked(named, MAX_ENDED)
      const last = parts.pop() ?? []
      for (const part of parts) ended.push(...(await this.#end(owner, part, now)))
      const result = await this.#revoke(bucketOf(owner), owner, last, now, { all: { kept: except } })
      if (Array.isArray(result)) return [...ended, ...result]
    }
    throw new StorageUnavailableError(`the user's sessions kept changing during ${MAX_ATTEMPTS} attempts to end them`)
  }

  async list(owner: string, now: number): Promise<StoredSession[]> {
    const ids = await this.#ids(owner, now)
    return (await this.#live(ids, now)).sort((a, b) => b.created - a.created)
  }

  async all(now: number): Promise<StoredSession[]> {
    const sessions: StoredSession[] = []
    // Bucket by bucket, so that what is under way at a time is bounded.
    for (const bucket of BUCKETS) {
      const ids = await this.#client.zrangebyscore(this.#key('x', bucket), `(${now}`, '+inf')
      sessions.push(...(await this.#live(ids, now)))
    }
    return sessions
  }

  async count(now: number): Promise<SessionCount> {
    const counts = (await countScript.gather(this.#client, this.#buckets(), [now])) as [number, number][]
    return { sessions: sum(counts.map(([sessions]) => sessions)), owners: sum(counts.map(([, owners]) => owners)) }
  }

  async sweep(now: number, limit: number): Promise<StoredSession[]> {
    const due = (await dueScript.gather(this.#client, this.#buckets(), [now, Math.ceil(limit / 16)])) as string[][]
    const ids = due.flat().slice(0, limit)
    const expired = await Promise.all(ids.map((id) => this.#expire(id, now)))
    return expired.flatMap((session) => session ?? [])
  }

  async #expire(id: string, now: number): Promise<StoredSession | undefined> {
    const session = live(this.#parse(id, await this.#client.get(this.#record(id)), Number.NEGATIVE_INFINITY))
    const owner = session?.owner
    const claimed = await expireScript.run(this.#client, this.#keys(id, owner), [id, owner ?? '', now])
    if (claimed !== 1) return undefined
    // A record that Redis has dropped already left nothing to tell but that it was there.
    return session ?? { id, created: 0, seen: 0, expires: 0, ends: 0, version: 0, logins: 0, fields: {} }
  }

  #create(
    session: StoredSession,
    admission: Admission & { requireLive: boolean },
    former = '',
  ): Promise<CreateOutcome> {
    const { owner } = session
    if (owner === undefined || !admission.limit) return this.#tryToCreate(session, admission, former)
    return this.#logins.run(owner, () => this.#tryToCreate(session, admission, former))
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
    const evicted: string[] = []
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
      const result = (await createScript.run(this.#client, keys, [
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
        bodyOf(session),
      ])) as ['created', number, string[]] | ['full' | 'gone' | 'taken'] | ['again', number]
      if (result[0] === 'created') return { outcome: 'created', logins: result[1], evicted: [...evicted, ...result[2]] }
      if (result[0] !== 'again') return { outcome: result[0] }
      const others = (await this.list(owner ?? '', now)).filter((other) => other.id !== former)
      victims = others
        .sort((a, b) => a.seen - b.seen)
        .slice(0, result[1])
        .map((other) => other.id)
      // The limit was lowered by more than one script can name.
      while (victims.length > MAX_ENDED) {
        evicted.push(...(await this.#end(owner ?? '', victims.splice(0, MAX_ENDED), now)))
      }
    }
    throw new StorageUnavailableError(`the user's sessions kept changing during ${MAX_ATTEMPTS} attempts to log in`)
  }

  #revoke(
    bucket: string,
    owner: string,
    ids: string[],
    now: number,
    { all, how = 'ended' }: { all?: { kept: string }; how?: Ended } = {},
  ): Promise<unknown> {
    const keys = [
      this.#key('x', bucket),
      this.#key('u', bucket, owner),
      this.#key('o', bucket),
      ...ids.map((id) => this.#record(id)),
    ]
    const kept = all?.kept ?? ''
    return revokeScript.run(this.#client, keys, [owner, now, TOMBSTONE_TTL, all ? 1 : 0, kept, how, ...ids])
  }

  async #end(owner: string, ids: string[], now: number): Promise<string[]> {
    return (await this.#revoke(bucketOf(owner), owner, ids, now)) as string[]
  }

  #ids(owner: string, now: number): Promise<string[]> {
    return this.#client.zrangebyscore(this.#key('u', bucketOf(owner), owner), `(${now}`, '+inf')
  }

  async #live(ids: string[], now: number): Promise<StoredSession[]> {
    const records = await Promise.all(ids.map((id) => this.#client.get(this.#record(id))))
    return ids.flatMap((id, index) => live(this.#parse(id, records[index] ?? null, now)) ?? [])
  }

  #parse(id: string, record: string | null, now: number): StoredSession | Ended | undefined {
    try {
      return parse(id, record, now)
    } catch (error) {
      this.onUnreadable?.(error)
      return undefined
    }
  }

  /** The record and the three indexes that it stands in. */
  #keys(id: string, owner = ''): [string, string, string, string] {
    const bucket = bucketOf(id)
    return [this.#record(id), this.#key('x', bucket), this.#key('u', bucket, owner), this.#key('o', bucket)]
  }

  /** The two indexes of each bucket. */
  #buckets(): [string, string][] {
    return BUCKETS.map((bucket) => [this.#key('x', bucket), this.#key('o', bucket)])
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
 * A session out of its record, one text: the head (expiry, last use and version, which change together; creation, end,
 * number of the login and owner, which do not), the meta, then each field in two lines. A client reads one text in a
 * fraction of the time that it needs for a hash, whose every name and value is one, and Redis keeps it in half the
 * memory; what parallel requests change is put together by the script that saves.
 * @throws when it is not what was written
 */
function parse(id: string, record: string | null, now: number): StoredSession | Ended | undefined {
  if (record === null) return undefined
  // Every other record begins with a number.
  if (record.charCodeAt(0) > DIGIT_NINE) return endedBy(record, now)
  // With a position instead of split(), which takes twice as long: every request with a session comes by.
  let at = 0
  const until = (separator: string) => {
    const end = record.indexOf(separator, at)
    if (end < 0) throw new SyntaxError('the record of a session is cut short')
    const text = record.slice(at, end)
    at = end + 1
    return text
  }
  const expires = Number(until(' '))
  if (!(expires > now)) return undefined
  const seen = Number(until(' '))
  const version = Number(until(' '))
  const created = Number(until(' '))
  const ends = Number(until(' '))
  const logins = Number(until(' '))
  const owner = until('\n')
  const meta = until('\n')
  const fields: Record<string, string> = {}
  while (at < record.length) {
    const name = unquoted(until('\n'))
    fields[name] = until('\n')
  }
  if (!Number.isFinite(expires + seen + version + created + ends + logins)) {
    throw new SyntaxError('the head of a session holds a number that is none')
  }
  const session: StoredSession = { id, created, seen, expires, ends, version, logins, fields }
  if (owner !== '') session.owner = owner
  if (meta !== '') session.meta = meta
  return session
}

/** All of a record but its head. */
function bodyOf({ meta = '', fields }: StoredSession): string {
  let body = `${meta}\n`
  for (const name in fields) body += `${quoted(name)}\n${fields[name]}\n`
  return body
}

/** Names are the application's and may have line breaks. */
function quoted(name: string): string {
  return JSON.stringify(name)
}

function unquoted(line: string): string {
  return line.includes('\\') ? JSON.parse(line) : line.slice(1, -1)
}

/** The code of the greatest digit. */
const DIGIT_NINE = 57

function endedBy(record: string, now: number): Ended | undefined {
  const [, how, until] = TOMBSTONE.exec(record) ?? []
  if (until === undefined) throw new SyntaxError('the record of a session is none')
  return Number(until) > now ? (how as Ended) : undefined
}

function live(found: ReturnType<typeof parse>): StoredSession | undefined {
  return typeof found === 'object' ? found : undefined
}

function ownerIn(head: string): string | undefined {
  return head.split('\n', 1)[0]?.split(' ')[6] || undefined
}

function sum(numbers: number[]): number {
  return numbers.reduce((total, number) => total + number, 0)
}

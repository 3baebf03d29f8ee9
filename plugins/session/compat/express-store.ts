import { createHash } from 'node:crypto'
import { EventEmitter } from 'node:events'
import type { Clock } from '../../support/clock.ts'
import type { Duration } from '../../support/durations.ts'
import { clock, duration, type Rules, readOptions, supplied } from '../../support/options.ts'
import { PassedTime } from '../passed-time.ts'
import { difference, parseValues, type SessionValues, stringifyValues } from '../record.ts'
import type { SessionStore, StoredSession } from '../stores/contract.ts'
import { MemorySessionStore } from '../stores/memory.ts'

export interface ExpressStoreOptions {
  /** Default: in memory. `sessionStoreOn(storage)` gives one on LMDB or Redis. */
  store?: SessionStore
  /** How long a session lives whose cookie has no expiry. Default `'24h'`. */
  ttl?: Duration
  clock?: Clock
}

const EXPRESS_STORE_RULES = {
  store: supplied<SessionStore>(),
  ttl: duration('24h'),
  clock,
} satisfies Rules<ExpressStoreOptions>

/** What express-session and @fastify/session hand to a store. */
interface ExpressSession {
  cookie?: { expires?: Date | string | null | boolean; originalMaxAge?: number | null }
}
type Callback<T> = (error: unknown, result?: T) => void

/** Expired sessions that are taken from the store at a time. */
const SWEEP_BATCH = 1_000
/** There is no absolute end in the contract of express-session; a time that no session reaches stands for it. */
const NEVER = 10 * 365 * 24 * 60 * 60 * 1_000

/**
 * One of our session stores with the methods of an express-session store, for express-session or for plain
 * @fastify/session. Each method takes a callback or returns a promise.
 *
 * The store keeps a hash of the session id, so `ids()` and the keys of `all()` are hashes as well. `set` does not
 * bring back a session that was destroyed in the last 30 seconds: a slow request that saves after a logout changes
 * nothing. That contract hands over whole sessions, so it cannot merge what parallel requests change.
 */
export class ExpressStore extends EventEmitter {
  readonly #store: SessionStore
  readonly #ttl: number
  readonly #clock: Clock
  readonly #time: PassedTime

  constructor(options: ExpressStoreOptions = {}) {
    super()
    const { store = new MemorySessionStore(), ttl, clock } = readOptions(EXPRESS_STORE_RULES, options)
    this.#store = store
    this.#ttl = ttl
    this.#clock = clock
    this.#time = new PassedTime(this.#clock, async (until) => {
      while ((await this.#store.sweep(until, SWEEP_BATCH)).length > 0);
    })
  }

  get(sid: string, callback?: Callback<SessionValues | null>) {
    return answer(this.#get(sid), callback)
  }

  set(sid: string, session: object, callback?: Callback<void>) {
    return answer(this.#set(sid, session), callback)
  }

  touch(sid: string, session: ExpressSession, callback?: Callback<void>) {
    return answer(this.#touch(sid, session), callback)
  }

  destroy(sid: string, callback?: Callback<void>) {
    return answer(this.#destroy(idOfSid(sid)), callback)
  }

  all(callback?: Callback<Record<string, SessionValues>>) {
    return answer(this.#all(), callback)
  }

  ids(callback?: Callback<string[]>) {
    return answer(this.#all().then(Object.keys), callback)
  }

  length(callback?: Callback<number>) {
    return answer(
      this.#time.ask((now) => this.#store.count(now)).then(({ sessions }) => sessions),
      callback,
    )
  }

  clear(callback?: Callback<void>) {
    return answer(this.#clear(), callback)
  }

  #get(sid: string): Promise<SessionValues | null> {
    const id = idOfSid(sid)
    return this.#time.ask(async (now) => {
      const stored = await this.#store.load(id, now)
      const values = typeof stored === 'object' ? readable(stored) : undefined
      if (!values) return null
      if (this.#expiryOf(values) > now) return values
      // A save can make a session end later, never earlier; the cookie says earlier.
      await this.#store.revoke(id, now)
      return null
    })
  }

  #set(sid: string, session: object): Promise<void> {
    const id = idOfSid(sid)
    return this.#time.ask(async (now) => {
      const expires = this.#expiryOf(session)
      if (expires <= now) {
        await this.#store.revoke(id, now)
        return
      }
      const fields = stringifyValues(session as SessionValues)
      const stored = await this.#store.load(id, now)
      if (typeof stored === 'object') {
        const change = { ...difference(stored.fields, fields), seen: now, expires }
        await this.#store.save(id, undefined, change, now)
      } else if (stored === undefined) {
        const head = { id, created: now, seen: now, expires, ends: now + NEVER, version: 1, logins: 0 }
        await this.#store.create({ ...head, fields }, { now, login: false })
      }
    })
  }

  async #touch(sid: string, session: ExpressSession): Promise<void> {
    const set = session.cookie ? { cookie: JSON.stringify(session.cookie) } : {}
    const expires = this.#expiryOf(session)
    await this.#time.ask((now) =>
      this.#store.save(idOfSid(sid), undefined, { set, remove: [], seen: now, expires }, now),
    )
  }

  async #destroy(id: string): Promise<void> {
    await this.#time.ask((now) => this.#store.revoke(id, now))
  }

  async #all(): Promise<Record<string, SessionValues>> {
    const stored = await this.#time.ask((now) => this.#store.all(now))
    return Object.fromEntries(
      stored.flatMap((session) => {
        const values = readable(session)
        return values ? [[session.id, values]] : []
      }),
    )
  }

  #clear(): Promise<void> {
    return this.#time.ask(async (now) => {
      for (const { id } of await this.#store.all(now)) await this.#store.revoke(id, now)
    })
  }

  #expiryOf({ cookie }: ExpressSession): number {
    const expires = cookie?.expires
    const at = typeof expires === 'string' || expires instanceof Date ? new Date(expires).getTime() : Number.NaN
    return Number.isNaN(at) ? this.#clock.now() + this.#ttl : at
  }
}

/** One that cannot be read is none. */
function readable({ fields }: StoredSession): SessionValues | undefined {
  try {
    return parseValues(fields)
  } catch {
    return undefined
  }
}

/** The bucket of a foreign id is taken from its hash. */
function idOfSid(sid: string): string {
  const digest = createHash('sha256').update(sid).digest()
  return digest.toString('hex', 0, 1) + digest.toString('base64url')
}

function answer<T>(result: Promise<T>, callback: Callback<T> | undefined): Promise<T> | undefined {
  if (!callback) return result
  // Out of the promise chain: what a callback throws is its own affair, not a second answer to it.
  result.then(
    (value) => setImmediate(callback, null, value),
    (error) => setImmediate(callback, error),
  )
  return undefined
}

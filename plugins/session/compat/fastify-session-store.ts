import type { SessionStore as FastifyStore } from '@fastify/session'
import type { FastifyInstance } from 'fastify'
import type { Clock } from '../../support/clock.ts'
import type { Duration } from '../../support/durations.ts'
import { SessionRevokedError } from '../../support/errors.ts'
import { clock, duration, type Rules, readOptions } from '../../support/options.ts'
import { SessionEngine } from '../engine.ts'
import { area } from '../options.ts'
import { type OpenSession, type SessionValues, stringifyValues } from '../record.ts'
import { MemorySessionStore } from '../stores/memory.ts'
import { sessionStoreOn } from '../stores/on-storage.ts'
import { answer, type ForeignCookie, lifetimeOf, type StoreCallback } from './foreign-session.ts'

/**
 * Our engine with the three methods that @fastify/session asks of a store. A session that was ended is not saved again
 * (401), and what is stored is the hash of an id. Its contract hands over whole sessions: of two requests that change
 * one session at the same time the later one wins.
 */
export class FastifySessionStore {
  readonly #engine: SessionEngine

  constructor(engine: SessionEngine) {
    this.#engine = engine
  }

  get(sid: string, callback: StoreCallback<SessionValues | null>): void {
    answer(
      this.#engine.open(sid).then((open) => (typeof open === 'object' ? (this.#engine.valuesOf(open) ?? null) : null)),
      callback,
    )
  }

  set(sid: string, session: object, callback: StoreCallback): void {
    answer(this.#set(sid, session), callback)
  }

  destroy(sid: string, callback: StoreCallback): void {
    answer(this.#destroy(sid), callback)
  }

  async #set(sid: string, session: object): Promise<void> {
    const values = JSON.parse(JSON.stringify(session)) as SessionValues
    const { cookie } = session as { cookie?: ForeignCookie }
    // What the cookie says goes before the policy.
    const idle = lifetimeOf(cookie, this.#engine.clock.now()) ?? this.#engine.policy.idle
    const open = await this.#engine.open(sid)
    if (idle <= 0) return this.#end(open)
    if (open === 'ended' || open === 'replaced') throw new SessionRevokedError()
    if (open === undefined) await this.#engine.begin(sid, values, { idle, ends: this.#endOf(idle) })
    else await this.#engine.save(open, stringifyValues(values), { idle })
  }

  async #destroy(sid: string): Promise<void> {
    await this.#end(await this.#engine.open(sid))
  }

  async #end(open: OpenSession | string | undefined): Promise<void> {
    if (typeof open === 'object') await this.#engine.end(open, 'logout')
  }

  #endOf(idle: number): number {
    return this.#engine.clock.now() + Math.max(this.#engine.policy.absolute, idle)
  }
}

/** Options of {@link sessionStore}. */
export interface SessionStoreOptions {
  /** Keeps these sessions apart from others on the same storage. Default: none. */
  name?: string
  /** A session whose cookie has no end of its own ends when it was not used for so long. Default `'24h'`. */
  idle?: Duration
  /** A session ends so long after it began, unless its cookie lives longer. Default `'30d'`. */
  absolute?: Duration
  /** How often expired sessions are removed. Default `'1m'`. */
  sweep?: Duration
  clock?: Clock
}

const RULES = {
  name: area,
  idle: duration('24h'),
  absolute: duration('30d'),
  sweep: duration('1m'),
  clock,
} satisfies Rules<SessionStoreOptions>

/**
 * Our engine as the `store` of @fastify/session, on the storage of the application or, without one, in memory. Call it
 * after the plugin `storage` and before the application is ready.
 *
 * @throws STATEFUL_INVALID_OPTION
 * @example
 * ```ts
 * await app.register(storage, { storage: 'redis://localhost' })
 * await app.register(fastifyCookie)
 * await app.register(fastifySession, { secret, store: sessionStore(app) })
 * ```
 */
export function sessionStore(app: FastifyInstance, options: SessionStoreOptions = {}): FastifyStore {
  const { name, idle, absolute, sweep, clock } = readOptions(RULES, options, 'sessionStore')
  const { storage } = app as Partial<FastifyInstance>
  const log = app.log.child({ plugin: 'session-store' })
  const engine = new SessionEngine({
    ...{ idle, absolute, touch: 0, clock },
    store: storage ? sessionStoreOn(storage, name) : new MemorySessionStore(),
    onError: (err, doing) => log.warn({ err }, `sessions: ${doing} failed`),
  })
  app.addHook('onReady', () => engine.start(sweep))
  app.addHook('onClose', () => engine.close())
  return new FastifySessionStore(engine) as unknown as FastifyStore
}

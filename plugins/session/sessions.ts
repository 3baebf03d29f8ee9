import type { SessionStats } from '../../openapi/schemas/session.ts'
import type { SessionEngine } from './engine.ts'
import type { SessionEvent, SessionEventName } from './events.ts'
import { type Device, type OpenSession, parseValues, type SessionValues } from './record.ts'
import { openOf } from './request/visit.ts'
import { bucketOf, newToken, ownerOf } from './token.ts'
import type { SessionInfo, SessionPolicy, UserSession } from './types.ts'

/**
 * `app.sessions`: the sessions of all users, whichever request or instance they came from. Sessions are named by their
 * handle, which opens nothing and may be shown.
 *
 * Each method rejects with STATEFUL_STORAGE_UNAVAILABLE when the store does not answer.
 *
 * @example
 * ```ts
 * const devices = await app.sessions.list(user.id)
 * await app.sessions.revoke(devices[0].handle)
 * ```
 */
export class Sessions<Values extends object = SessionValues> {
  readonly #engine: SessionEngine

  constructor(engine: SessionEngine) {
    this.#engine = engine
  }

  /** How long sessions last, in milliseconds. */
  get policy(): Readonly<SessionPolicy> {
    return this.#engine.policy
  }

  /**
   * `revoked` is heard on every instance, also for a logout and for the session that a login replaced; the
   * others where they happen. @returns a function that ends it
   */
  on(name: SessionEventName, listener: (event: SessionEvent) => void): () => void {
    return this.#engine.events.add(name, listener)
  }

  off(name: SessionEventName, listener: (event: SessionEvent) => void): void {
    this.#engine.events.delete(name, listener)
  }

  /**
   * `listener` runs when `revoked` of other instances may have gone by unheard (a lost connection to Redis), and again
   * when they are heard once more: anything that relies on a session has to check it. It must not throw.
   * @returns a function that ends it
   */
  onMissed(listener: () => void): () => void {
    return this.#engine.missed.add(listener)
  }

  /**
   * A session of the user beside their others. Only here is the token told: it is the credential.
   * @throws STATEFUL_TOO_MANY_SESSIONS
   */
  async create(
    userId: string,
    data: Partial<Values> = {},
    device: Device = {},
  ): Promise<UserSession<Values> & { token: string }> {
    const token = newToken(bucketOf(ownerOf(userId)))
    const open = await this.#engine.begin(token, { user: { id: userId }, ...data }, { userId, device, login: true })
    return { ...this.#describe(open), token }
  }

  /** @param id the session's handle */
  async get(id: string): Promise<UserSession<Values> | undefined> {
    const open = await this.#engine.find(id)
    return open && this.#engine.valuesOf(open) && this.#describe(open)
  }

  /**
   * Changes the top-level values that the patch names (`undefined` removes one) and leaves the others as they
   * are, even if others change them meanwhile. A function gets the present values and is called again when someone
   * else was faster.
   * @throws STATEFUL_SESSION_CONFLICT when others are faster each time
   */
  async update(
    id: string,
    patch: Partial<Values> | ((data: Values) => Partial<Values> | Promise<Partial<Values>>),
  ): Promise<UserSession<Values> | undefined> {
    const compare = typeof patch === 'function'
    const change = compare ? (patch as (data: SessionValues) => SessionValues) : () => patch as SessionValues
    const open = await this.#engine.update(id, change, { compare })
    return open && this.#describe(open)
  }

  /**
   * Records that the session was used now: for use that does not come by requests (messages over a socket). At most one
   * write in the option `touch`. @returns `false` when it is not live
   */
  async touch(handle: string): Promise<boolean> {
    const open = await this.#engine.find(handle)
    if (!open) return false
    if (!this.#engine.isTouchDue(open)) return true
    return this.#engine.save(open, open.texts, { idle: open.idle ?? this.#engine.policy.idle })
  }

  /** `false` when it was not live. */
  destroy(id: string, reason = 'revoked'): Promise<boolean> {
    return this.revoke(id, reason)
  }

  async list(userId: string): Promise<SessionInfo[]> {
    return (await this.#engine.list(userId)).map(info)
  }

  /** Ends the session with that handle. `false` when it was not live. */
  revoke(handle: string, reason = 'revoked'): Promise<boolean> {
    return this.#engine.endId(handle, reason)
  }

  /** The handle of the session that a request came with or got; `undefined` when it has none. */
  handleOf(request: object): string | undefined {
    return openOf(request)?.id
  }

  /** Ends all sessions of the request's user but the request's own. @returns how many there were */
  async revokeOthers(request: object, reason = 'revoked'): Promise<number> {
    const open = openOf(request)
    if (open?.userId === undefined) return 0
    return this.revokeUser(open.userId, { except: open.id, reason })
  }

  /** When the request's user last proved who they are, in milliseconds since the Unix epoch. */
  authenticatedAt(request: object): number | undefined {
    return openOf(request)?.authenticated
  }

  /** Ends all sessions of the user, one handle perhaps excepted. @returns how many there were */
  revokeUser(userId: string, { except, reason = 'revoked' }: { except?: string; reason?: string } = {}) {
    return this.#engine.endAll(userId, reason, except)
  }

  /** How many live sessions there are, of all users and instances. */
  count(): Promise<number> {
    return this.#engine.count()
  }

  stats(): Promise<SessionStats> {
    return this.#engine.stats()
  }

  /** Removes what has expired by now. Runs by itself, too; @returns how many sessions it removed */
  sweep(): Promise<number> {
    return this.#engine.sweep()
  }

  #describe(open: OpenSession): UserSession<Values> {
    return {
      ...info(open),
      id: open.id,
      ...(open.userId === undefined ? {} : { userId: open.userId }),
      expiresAt: new Date(open.expires),
      loginCount: open.logins,
      data: parseValues(open.texts) as Values,
    }
  }
}

function info(open: OpenSession): SessionInfo {
  return {
    handle: open.id,
    createdAt: new Date(open.created),
    lastActivity: new Date(open.seen),
    ...open.device,
  }
}

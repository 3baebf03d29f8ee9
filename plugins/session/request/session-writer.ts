import type { FastifyRequest } from 'fastify'
import { SessionRevokedError } from '../../support/errors.ts'
import type { Adopted } from '../compat/adopt.ts'
import type { SessionEngine } from '../engine.ts'
import type { Device, OpenSession, SessionValues } from '../record.ts'
import { bucketOf, newToken, ownerOf } from '../token.ts'
import { changedTexts, storedValues } from './changes.ts'
import type { IdentityOf } from './identity.ts'
import { forgetRemembered, lifetimeBy } from './lifetime.ts'
import type { Session, SessionState } from './session.ts'

export interface SessionWriterOptions {
  engine: SessionEngine
  identityOf: IdentityOf
  saveUninitialized: boolean
  idGenerator?: ((request?: FastifyRequest) => string) | undefined
}

/** Puts what a request's session holds into the store: under which id, for whom, and for how long. */
export class SessionWriter {
  readonly #engine: SessionEngine
  readonly #options: SessionWriterOptions

  constructor(options: SessionWriterOptions) {
    this.#engine = options.engine
    this.#options = options
  }

  /** Writes what the session holds now: under a fresh id if it is of another user than before. */
  async store(session: Session, state: SessionState): Promise<void> {
    const { open } = state
    const userId = this.#options.identityOf(session)
    if (state.ended) throw new SessionRevokedError()
    if (userId !== open?.userId) {
      await this.rotate(session, state, { userId, login: userId !== undefined })
    } else if (!open) {
      await this.rotate(session, state, {})
    } else {
      await this.#save(session, state, open)
    }
    state.saved = true
  }

  async #save(session: Session, state: SessionState, open: OpenSession): Promise<void> {
    const texts = changedTexts(session, state, open)
    if (texts === open.texts && !state.touchDue) return
    const { idle, ends } = this.#lifetime(session, state, open.idle)
    if (idle <= 0) return this.#expire(state, state.token as string, open)
    state.touchDue = false
    const longer = texts['cookie'] !== open.texts['cookie'] && ends > open.ends
    if (await this.#engine.save(open, texts, { idle, ...(longer ? { ends } : {}) })) {
      state.cookieDue = true
    } else {
      // It ended while this request was at work. The browser may have the cookie of another by now.
      state.ended = true
    }
  }

  /** Gives the session a fresh id, and stores it under that. */
  async rotate(
    session: Session,
    state: SessionState,
    {
      userId,
      login = false,
      idle,
      lifetime,
      secret,
    }: {
      userId?: string | undefined
      login?: boolean
      idle?: number
      lifetime?: number | undefined
      /** Generated already. */
      secret?: string | undefined
    },
  ): Promise<void> {
    const { open, visit } = state
    const former = open && !state.ended ? open : undefined
    const isNew = !open && !login && userId === undefined
    if (isNew && !this.#options.saveUninitialized && Object.keys(session).length === 0) {
      // Nothing is stored: there is nothing to protect but the id.
      state.token = undefined
      return
    }
    const token = isNew && state.token !== undefined ? state.token : this.tokenFor(visit.request, userId, open, secret)
    const saysNothing = idle === undefined && lifetime === undefined
    if (login && saysNothing) forgetRemembered(session, state)
    const now = this.#engine.clock.now()
    const terms = this.#lifetime(session, state, idle ?? (login ? undefined : open?.idle))
    if (terms.idle <= 0) return this.#expire(state, token, former)
    const begun = await this.#engine.begin(token, storedValues(session, state), {
      ...(userId === undefined ? {} : { userId }),
      ...(former ? { former } : {}),
      ...(login ? { login, device: deviceOf(visit.request) } : {}),
      ...(idle === undefined ? {} : { ownIdle: idle }),
      idle: terms.idle,
      ends: lifetime === undefined ? Math.max(terms.ends, now + (idle ?? 0)) : now + lifetime,
    })
    state.token = token
    state.open = begun
    state.ended = false
    state.touchDue = false
    state.cookieDue = true
  }

  /** Its cookie has expired: the browser is told to drop what it has, and the session could not be used again. */
  async #expire(state: SessionState, token: string, open: OpenSession | undefined): Promise<void> {
    if (open) await this.#engine.end(open, 'expired')
    state.open = undefined
    state.token = token
    state.cookieDue = true
  }

  #lifetime(session: Session, state: SessionState, idle: number | undefined) {
    return lifetimeBy(this.#engine.policy, session, state, idle, this.#engine.clock.now())
  }

  /** Tokens lie in the bucket of their user. */
  tokenFor(
    request: FastifyRequest,
    userId: string | undefined,
    open?: OpenSession,
    secret = this.#options.idGenerator?.(request),
  ): string {
    if (userId !== undefined) return newToken(bucketOf(ownerOf(userId)), secret)
    // A session without a user may lie in any bucket: an id that the application generates stays as it is.
    return secret ?? newToken(open ? bucketOf(open.id) : undefined)
  }

  /** Stored at once: the session that it comes from is gone, even if the handler fails. */
  async beginAdopted(request: FastifyRequest, values: SessionValues, secret: string): Promise<Adopted> {
    const userId = this.#options.identityOf(values)
    const token = this.tokenFor(request, userId, undefined, secret)
    const open = await this.#engine.begin(token, values, {
      once: true,
      device: deviceOf(request),
      ...(userId === undefined ? {} : { userId }),
    })
    return { token, open }
  }
}

function deviceOf(request: FastifyRequest): Device {
  const userAgent = request.headers?.['user-agent']
  return { ip: request.ip, ...(userAgent === undefined ? {} : { userAgent: userAgent.slice(0, 512) }) }
}

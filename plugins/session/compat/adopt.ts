import { createHmac } from 'node:crypto'
import type { FastifyRequest } from 'fastify'
import { storageFailure } from '../../storage/failure.ts'
import { within } from '../../support/deadline.ts'
import { SessionRevokedError, StorageUnavailableError } from '../../support/errors.ts'
import { invalidOption } from '../../support/options.ts'
import { aesSealer } from '../encryption.ts'
import type { SessionEngine } from '../engine.ts'
import type { OpenSession, SessionValues } from '../record.ts'
import { liveSigner } from '../request/signer.ts'
import { ask, askIfAny, type CallbackStore } from '../stores/callback.ts'
import { type ForeignCookie, lifetimeOf } from './foreign-session.ts'

/** The sessions of another plugin, which are taken over one by one. */
export interface AdoptOptions {
  /** The store that @fastify/session or express-session had. */
  store: CallbackStore
  /** Its secret, or secrets. */
  secret: string | string[]
  /** Its cookie's name. Default: `sessionId` of @fastify/session, then `connect.sid` of express-session. */
  cookieName?: string
}

/** A session of ours with the token that its bearer gets. */
export interface Adopted {
  token: string
  open: OpenSession
}

/**
 * Begins a session of ours that holds the values, whose token is derived from the secret; only once, even if others do
 * the same.
 */
export type BeginAdopted = (values: SessionValues, secret: string) => Promise<Adopted>

/** Takes over the session whose cookie of another plugin a request has; `undefined` without one. */
export type Adopt = (request: FastifyRequest, begin: BeginAdopted) => Promise<Adopted | undefined> | undefined

/**
 * In place of a session that was taken over; `stateful` also marks the records that our plugin keeps in such a store.
 */
interface Forwarding {
  cookie: ForeignCookie & { maxAge: number }
  /** The token of its successor, sealed. */
  stateful: string
}

/**
 * For how long a session that was taken over leads to its successor, in milliseconds: other requests of the same page
 * are under way with the former cookie, perhaps to other instances.
 */
const FORWARDED_FOR = 60_000
const DOING = 'sessions to take over'

/**
 * The token of a session that is taken over follows from its former id and the secret. Two requests that take it over
 * at the same moment, on one instance or on two, therefore name the same session: the second gets what the first has
 * made of it.
 *
 * @param deadline milliseconds in which a session must have been taken over
 */
export function adopting(options: AdoptOptions, engine: SessionEngine, deadline: number): Adopt {
  const { store, secret, cookieName } = options
  if (!(['get', 'set', 'destroy'] as const).every((method) => typeof store?.[method] === 'function')) {
    throw invalidOption('session.adopt.store', 'must have the methods get, set and destroy.')
  }
  if (secret === undefined || secret.length === 0) {
    throw invalidOption('session.adopt.secret', 'must be the secret with which the cookies were signed.')
  }
  const signer = liveSigner(secret)
  const secrets = typeof secret === 'string' ? [secret] : secret
  const sealer = aesSealer(secrets)
  const names = cookieName === undefined ? ['sessionId', 'connect.sid'] : [cookieName]

  function sidOf({ cookies }: FastifyRequest): string | undefined {
    for (const name of names) {
      const cookie = cookies[name]
      if (cookie === undefined) continue
      // express-session marks what is signed by `s:`.
      const { valid, value } = signer.unsign(cookie.startsWith('s:') ? cookie.slice(2) : cookie)
      if (valid && value !== null) return value
    }
    return undefined
  }

  async function take(sid: string, begin: BeginAdopted): Promise<Adopted | undefined> {
    const found = await askIfAny((callback) => store.get(sid, callback)).catch(fail)
    if (typeof found !== 'object' || found === null) return undefined
    // A copy: some stores hand out the object that they keep.
    const { cookie, stateful, ...values } = JSON.parse(JSON.stringify(found)) as SessionValues
    if (stateful !== undefined) return follow(sid, stateful)
    const hasExpired = (lifetimeOf(cookie as ForeignCookie | undefined, engine.clock.now()) ?? 1) <= 0
    if (hasExpired || Object.keys(values).length === 0) return undefined
    const adopted = await begin(values, secretOf(sid)).catch((error: unknown) => {
      // Another instance took it over, and it was ended there.
      if (error instanceof SessionRevokedError) return undefined
      throw error
    })
    // If this fails, the next request finds the session that has begun, and tries again.
    if (adopted) await ask((callback) => store.set(sid, forwarding(sid, adopted.token), callback)).catch(fail)
    return adopted
  }

  async function follow(sid: string, sealed: unknown): Promise<Adopted | undefined> {
    const token = typeof sealed === 'string' ? sealer.open(placeOf(sid), sealed) : undefined
    const open = token === undefined ? undefined : await engine.open(token)
    return token !== undefined && typeof open === 'object' ? { token, open } : undefined
  }

  function secretOf(sid: string): string {
    return createHmac('sha256', secrets[0] as string)
      .update(placeOf(sid))
      .digest('base64url')
  }

  function forwarding(sid: string, token: string): Forwarding {
    const expires = new Date(engine.clock.now() + FORWARDED_FOR)
    return {
      cookie: { expires, originalMaxAge: FORWARDED_FOR, maxAge: FORWARDED_FOR },
      stateful: sealer.seal(placeOf(sid), token),
    }
  }

  return (request, begin) => {
    const sid = sidOf(request)
    if (sid === undefined) return undefined
    const unanswered = () => new StorageUnavailableError(`${DOING}: no answer within ${deadline} ms`)
    return within(take(sid, begin), deadline, engine.clock, unanswered)
  }
}

function fail(cause: unknown): never {
  throw storageFailure(cause, DOING)
}

function placeOf(sid: string): string {
  return `adopted ${sid}`
}

import type { FastifyRequest } from 'fastify'
import type { Clock } from '../../support/clock.ts'
import { within } from '../../support/deadline.ts'
import { StorageUnavailableError } from '../../support/errors.ts'
import { invalidOption } from '../../support/options.ts'
import { isPromiseLike } from '../../support/promise-like.ts'
import { liveSigner } from '../request/signer.ts'
import type { CallbackStore } from '../stores/callback.ts'

/** The sessions of another plugin, which are taken over one by one. */
export interface AdoptOptions {
  /** The store that @fastify/session or express-session had. */
  store: CallbackStore
  /** Its secret, or secrets. */
  secret: string | string[]
  /** Its cookie's name. Default: `sessionId` of @fastify/session, then `connect.sid` of express-session. */
  cookieName?: string
}

/**
 * Answers the values of the session whose cookie of another plugin a request has, and takes it out of the store of that
 * plugin: it lives on as one of ours. `undefined` without such a cookie.
 */
export function adopting(options: AdoptOptions, clock: Clock, deadline: number) {
  const { store, secret, cookieName } = options
  if (!['get', 'destroy'].every((method) => typeof store?.[method as 'get'] === 'function')) {
    throw invalidOption('session.adopt.store', 'must have the methods get, set and destroy.')
  }
  if (secret === undefined || secret.length === 0) {
    throw invalidOption('session.adopt.secret', 'must be the secret with which the cookies were signed.')
  }
  const signer = liveSigner(secret)
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

  return (request: FastifyRequest): Promise<Record<string, unknown> | undefined> | undefined => {
    const sid = sidOf(request)
    if (sid === undefined) return undefined
    const unanswered = () => new StorageUnavailableError(`sessions to take over: no answer within ${deadline} ms`)
    return within(take(store, sid), deadline, clock, unanswered)
  }
}

async function take(store: CallbackStore, sid: string): Promise<Record<string, unknown> | undefined> {
  const found = (await ask((callback) => store.get(sid, callback))) as Record<string, unknown> | null | undefined
  if (!found || typeof found !== 'object') return undefined
  const { cookie, ...values } = structuredClone(JSON.parse(JSON.stringify(found))) as Record<string, unknown>
  const { expires } = (cookie ?? {}) as { expires?: string | null }
  if (expires && new Date(expires).getTime() <= Date.now()) return undefined
  // First, so that of two requests at once only one goes on with it.
  await ask((callback) => store.destroy(sid, callback))
  return values
}

function ask(question: (callback: (error?: unknown, value?: unknown) => void) => unknown): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const returned = question((error, value) => (error && !isUnknown(error) ? reject(error) : resolve(value)))
    if (isPromiseLike(returned)) returned.then(undefined, reject)
  })
}

/** Stores of files say so that there is no such session. */
function isUnknown(error: unknown): boolean {
  return (error as { code?: unknown }).code === 'ENOENT'
}

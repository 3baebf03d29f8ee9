import type { FastifyReply, FastifyRequest } from 'fastify'
import { Answer } from './answer.ts'
import { type Session, stateOf } from './session.ts'

/**
 * What a request came with. `none`: no cookie of ours. `live`: the cookie of a session. `ended`: that of one that ended
 * before. `replaced`: that of one whose browser has a newer id by now, from a login or a rotation in another request.
 */
export type Arrival = 'none' | 'live' | 'ended' | 'replaced'

/** One request and its session. */
export class Visit {
  readonly request: FastifyRequest
  /** Absent when the session was given to the request by hand (`decryptSession`) where it would have none. */
  readonly reply: FastifyReply | undefined
  readonly answer = new Answer()
  arrival: Arrival = 'none'
  /** The session it has, or had last. */
  session!: Session
  /** What the handler asked of its session last and is not done yet; the next thing comes after it. */
  pending: Promise<unknown> | undefined
  /** Updates at work. Their functions may ask for more, so nothing else waits for them but the reply. */
  updates: Set<Promise<unknown>> | undefined
  /** `logout()` ended it, which lets the browser clear what it keeps. */
  loggedOut = false

  constructor(request: FastifyRequest, reply?: FastifyReply) {
    this.request = request
    this.reply = reply
  }
}

/** Where a request has its visit: a property costs each request less than an entry of a WeakMap. */
const VISIT = Symbol('stateful.session.visit')

export function visitOf(request: object): Visit | undefined {
  return (request as { [VISIT]?: Visit })[VISIT]
}

export function beginVisit(visit: Visit): void {
  ;(visit.request as { [VISIT]?: Visit })[VISIT] = visit
}

/** The stored session of a request; `undefined` while it has none. */
export function openOf(request: object) {
  return stateOf(visitOf(request)?.session)?.open
}

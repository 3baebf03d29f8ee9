import type { FastifyRequest } from 'fastify'
import type { OpenSession } from './record.ts'

/** What a request's session was when it came in, and what became of it. */
export class Visit {
  readonly request: FastifyRequest
  /** Absent: nothing is stored yet. */
  open: OpenSession | undefined
  /** The cookie names a session that ended a moment ago: neither is it saved, nor the cookie touched. */
  ended = false
  touchDue = false
  /** The browser does not have the right cookie yet. */
  cookieDue = false
  /** The handler failed: what it changed is not saved. */
  discard = false
  /** A response is on its way through the hooks. */
  sending = false
  /** The store failed; the cookie stays as it is. */
  failed = false
  /** Compared a moment ago, and nothing had changed: the shell need not compare again. */
  unchanged = false

  constructor(request: FastifyRequest) {
    this.request = request
  }
}

/**
 * Where a request has its visit, and a session its binding. A property costs each request less than an entry of a
 * WeakMap, which the garbage collector must look through.
 */
export const VISIT = Symbol('stateful.session.visit')
export const BINDING = Symbol('stateful.session.binding')
export interface Visited {
  [VISIT]?: Visit
}
/** Names its session: a copy (`{ ...request.session }`) has the property as well, but not the visit. */
export interface Bound {
  [BINDING]?: { session: object; visit: Visit }
}

export function visitOf(session: object): Visit | undefined {
  const binding = (session as Bound)[BINDING]
  return binding?.session === session ? binding.visit : undefined
}

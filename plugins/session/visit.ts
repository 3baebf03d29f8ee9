import type { FastifyReply, FastifyRequest } from 'fastify'
import type { OpenSession } from './record.ts'
import type { ReplyHead } from './request/reply.ts'

/** What a request's session was when it came in, and what became of it. */
export class Visit {
  readonly request: FastifyRequest
  /** Absent when the session was given to the request by hand (`decryptSession`) where it would have none. */
  readonly reply: FastifyReply | undefined
  /** Absent: nothing is stored yet. */
  open: OpenSession | undefined
  /** The cookie names a session that ended a moment ago: neither is it saved, nor the cookie touched. */
  ended = false
  touchDue = false
  /** The browser does not have the right cookie yet. */
  cookieDue = false
  /** The handler failed: what it changed is not saved. */
  discard = false
  /**
   * How far its reply is: `handling` until one is sent, `saving` while that waits for the store, `left` when it has gone
   * on to the next hook. One that failed begins anew.
   */
  stage: 'handling' | 'saving' | 'left' = 'handling'
  /** The reply as it was sent, while it waits for the store. */
  head: ReplyHead | undefined
  /** Its status, and its payload if that is a stream, when it went on. */
  status = 200
  stream: { destroyed?: boolean } | undefined
  /** An error is being answered: the next reply is the one that tells of it. */
  failing = false
  /** Something was sent or thrown while the reply was under way. */
  disturbed = false
  /** The handler wrote to `reply.raw` before it replied. */
  raw = false
  /** The store failed; the cookie stays as it is. */
  failed = false
  /** Compared a moment ago, and nothing had changed: the shell need not compare again. */
  unchanged = false

  constructor(request: FastifyRequest, reply?: FastifyReply) {
    this.request = request
    this.reply = reply
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

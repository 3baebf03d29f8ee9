import type { FastifyReply, FastifyRequest } from 'fastify'
import { answerHead, type CachedAnswer, confirmed, type Made, type Origin, ownCookies, wholeAnswer } from './answer.ts'
import type { Answers, Fill } from './answers.ts'
import { collect, discard, isStream, unwrapped } from './collect.ts'
import { restoreConditions } from './conditional.ts'
import { confirms, deliver, describe } from './delivery.ts'
import type { Exchange, Work } from './exchange.ts'
import { leftAt, mayStandIn } from './freshness.ts'
import type { CachedRoute } from './handler.ts'
import { type HeaderFields, resetHeaders } from './headers.ts'

/** Set while an answer is sent, by Fastify or by what describes the content: as good as said by the handler. */
const OF_SENDING = new Set(['content-type', 'content-length', 'etag', 'last-modified', 'vary', 'cache-control'])

interface Concerned {
  exchange: Exchange
  work: Work
  route: CachedRoute
  answers: Answers
  /** Largest body that is kept. */
  maxBytes: number
}

/**
 * Makes of what a handler has answered what is kept, and what this client gets: the answer, the word that the client
 * has it, or the stored answer that the handler has confirmed or failed to replace.
 */
export class Conclusion {
  readonly #request: FastifyRequest
  readonly #reply: FastifyReply
  readonly #concerned: Concerned
  readonly #now: number
  /** Names of the headers that hooks have set since the handler has answered. */
  readonly #hooked: ReadonlySet<string>

  constructor(request: FastifyRequest, reply: FastifyReply, concerned: Concerned) {
    const { work, answers } = concerned
    this.#request = request
    this.#reply = reply
    this.#concerned = concerned
    this.#now = answers.now()
    this.#hooked = changedBetween(work.after, reply.getHeaders())
    work.concluded = true
    restoreConditions(request, work.conditions)
  }

  /** @returns the payload to send */
  payload(given: unknown): unknown {
    const { stored, fill, failed, before } = this.#concerned.work
    const reply = this.#reply
    const payload = unwrapped(reply, given)
    if (stored && (failed || reply.statusCode >= 500) && mayStandIn(stored, this.#now)) {
      fill?.settle({ ...stored, failed: true })
      return this.#instead(stored, payload)
    }
    if (failed) return this.#unkept(payload)
    const made: Made = { status: reply.statusCode, headers: reply.getHeaders(), before, hooked: this.#hooked }
    if (stored && made.status === 304) return this.#confirm(stored, made, payload)
    const kept = fill && this.#keep(fill, made, payload)
    if (kept) return kept.payload
    // Whatever it is, its maker has another one by now.
    if (stored && made.status < 500) this.#drop()
    return this.#unkept(payload)
  }

  /** The handler has confirmed what is stored: it is as good as new. */
  #confirm(stored: CachedAnswer, made: Made, payload: unknown): unknown {
    const { fill } = this.#concerned.work
    const answer = confirmed(stored, made, this.#origin(), this.#now)
    const keep = answer.terms.keepFor > 0 || leftAt(answer, this.#now) > 0
    fill?.settle(keep ? answer : undefined)
    this.#concerned.exchange.status.stored = keep && fill !== undefined
    const result = this.#instead(answer, payload)
    const cookies = ownCookies(made)
    // For this client alone, unless they are for all.
    if (cookies !== undefined && `${answer.headers['set-cookie']}` !== `${cookies}`) {
      this.#reply.header('set-cookie', cookies)
    }
    return result
  }

  /** Keeps the answer, if it may be kept; what to send then. */
  #keep(fill: Fill, made: Made, payload: unknown): { payload: unknown } | undefined {
    const { maxBytes, exchange, work, route } = this.#concerned
    const head = answerHead(made, this.#origin(), this.#now)
    const large = Number(made.headers['content-length'] ?? 0) > maxBytes
    if (head === undefined || large || !isKeepable(payload, made.headers)) return undefined
    if (!isStream(payload)) {
      const body = (payload ?? '') as string | Buffer
      if (Buffer.byteLength(body) > maxBytes) return undefined
      const answer = wholeAnswer(head, body)
      fill.settle(answer)
      exchange.status.stored = true
      describe(this.#reply, answer, exchange.personal, route.told)
      return { payload: confirms(this.#reply, answer, work.conditions) ? null : payload }
    }
    const passing = collect(payload, maxBytes, (body) => fill.settle(body && wholeAnswer(head, body)))
    exchange.status.stored = true
    describe(this.#reply, head, exchange.personal, route.told)
    if (!confirms(this.#reply, head, work.conditions)) return { payload: passing }
    discard(passing)
    return { payload: null }
  }

  /** Sends a stored answer in place of what the handler has said. */
  #instead(answer: CachedAnswer, payload: unknown): unknown {
    const { exchange, work, route } = this.#concerned
    if (isStream(payload)) discard(payload)
    exchange.status.forwardedStatus = this.#reply.statusCode
    exchange.status.left = leftAt(answer, this.#now)
    resetHeaders(this.#reply, work.before, this.#hooked)
    return deliver(this.#request, this.#reply, answer, work.conditions, exchange.personal, route.told, this.#now)
  }

  #unkept(payload: unknown): unknown {
    const { exchange, work } = this.#concerned
    work.fill?.settle(undefined)
    // No cache on the way may keep either what is for somebody in particular.
    if (exchange.personal && !this.#reply.hasHeader('cache-control')) {
      this.#reply.header('cache-control', 'private, no-cache')
    }
    return payload
  }

  #drop(): void {
    const { answers, work } = this.#concerned
    const failed = (err: unknown) => this.#request.log.warn({ err }, 'an outdated answer stays until its time')
    answers.drop(work.key).catch(failed)
  }

  #origin(): Origin {
    const { route, exchange } = this.#concerned
    return {
      route: route.terms,
      shared: route.rule.shared,
      personal: exchange.personal,
      credentials: this.#request.headers.authorization !== undefined && !route.rule.vary.includes('authorization'),
    }
  }
}

/** Events have no end that others could wait for. */
function isKeepable(payload: unknown, headers: HeaderFields): boolean {
  if (isStream(payload)) return !`${headers['content-type'] ?? ''}`.startsWith('text/event-stream')
  return payload === undefined || payload === null || typeof payload === 'string' || Buffer.isBuffer(payload)
}

/** What hooks have set since the handler has answered: they will do so again with each answer. */
function changedBetween(after: HeaderFields | undefined, now: HeaderFields): ReadonlySet<string> {
  if (after === undefined) return new Set()
  const changed = Object.keys(now).filter((name) => now[name] !== after[name] && !OF_SENDING.has(name))
  return new Set(changed)
}

import type { FastifyReply, FastifyRequest } from 'fastify'
import { answerHead, confirmed, type Made, type Origin, ownCookies, wholeAnswer } from './answer.ts'
import type { Answers } from './answers.ts'
import { collect, discard, isStream, unwrapped } from './collect.ts'
import { restoreConditions } from './conditional.ts'
import { confirms, deliver, describe } from './delivery.ts'
import type { Exchange, Work } from './exchange.ts'
import { leftAt, mayStandIn } from './freshness.ts'
import type { CachedRoute } from './handler.ts'
import { type HeaderFields, resetHeaders } from './headers.ts'

/** Set while an answer is sent, by Fastify or by whoever describes the content: as good as said by the handler. */
const OF_SENDING = new Set(['content-type', 'content-length', 'etag', 'last-modified', 'vary', 'cache-control'])

interface Conclusion {
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
 *
 * @returns the payload to send
 */
export function conclude(
  request: FastifyRequest,
  reply: FastifyReply,
  { exchange, work, route, answers, maxBytes }: Conclusion,
  given: unknown,
): unknown {
  const { stored, fill, conditions, before } = work
  const { status, personal } = exchange
  work.concluded = true
  restoreConditions(request, conditions)
  const now = answers.now()
  const hooked = changedBetween(work.after, reply.getHeaders())
  const origin: Origin = {
    route: route.terms,
    shared: route.rule.shared,
    personal,
    credentials: request.headers.authorization !== undefined && !route.rule.vary.includes('authorization'),
  }
  const instead = (answer: NonNullable<typeof stored>) => {
    if (isStream(given)) discard(given)
    status.forwardedStatus = reply.statusCode
    status.left = leftAt(answer, now)
    resetHeaders(reply, before, hooked)
    return deliver(request, reply, answer, conditions, personal, route.told, now)
  }

  if (stored && (work.failed || reply.statusCode >= 500) && mayStandIn(stored, now)) {
    fill?.settle({ ...stored, failed: true })
    return instead(stored)
  }
  const unkept = (sent: unknown) => {
    fill?.settle(undefined)
    // No cache on the way may keep either what is for somebody in particular.
    if (personal && !reply.hasHeader('cache-control')) reply.header('cache-control', 'private, no-cache')
    return sent
  }
  const drop = () => {
    const failed = (err: unknown) => request.log.warn({ err }, 'an outdated answer stays until its time')
    answers.drop(work.key).catch(failed)
  }
  if (work.failed) return unkept(given)
  const payload = unwrapped(reply, given)
  const made: Made = { status: reply.statusCode, headers: reply.getHeaders(), before, hooked }
  if (stored && made.status === 304) {
    const answer = confirmed(stored, made, origin, now)
    const keep = answer.terms.keepFor > 0 || leftAt(answer, now) > 0
    fill?.settle(keep ? answer : undefined)
    status.stored = keep && fill !== undefined
    const cookies = ownCookies(made)
    const result = instead(answer)
    // For this client alone, unless they are for all.
    if (cookies !== undefined && `${answer.headers['set-cookie']}` !== `${cookies}`) reply.header('set-cookie', cookies)
    return result
  }
  // Whatever it is, its maker has another one by now.
  const outdated = stored !== undefined && made.status < 500
  if (!fill) {
    if (outdated) drop()
    return unkept(payload)
  }
  const head = answerHead(made, origin, now)
  const large = Number(made.headers['content-length'] ?? 0) > maxBytes
  if (head === undefined || large || !isKeepable(payload, made.headers)) {
    if (outdated) drop()
    return unkept(payload)
  }
  if (isStream(payload)) {
    const passing = collect(payload, maxBytes, (body) => fill.settle(body && wholeAnswer(head, body)))
    status.stored = true
    describe(reply, head, personal, route.told)
    if (!confirms(reply, head, conditions)) return passing
    discard(passing)
    return null
  }
  const body = (payload ?? '') as string | Buffer
  if (Buffer.byteLength(body) > maxBytes) return unkept(payload)
  const answer = wholeAnswer(head, body)
  fill.settle(answer)
  status.stored = true
  describe(reply, answer, personal, route.told)
  return confirms(reply, answer, conditions) ? null : payload
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

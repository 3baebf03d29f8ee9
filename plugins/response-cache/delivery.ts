import type { FastifyReply, FastifyRequest } from 'fastify'
import { type AnswerHead, type CachedAnswer, isWeak } from './answer.ts'
import { type Conditions, holds, tagFor } from './conditional.ts'
import { ageAt } from './freshness.ts'
import { addVary, beforeHead, isEncoded, OF_CONTENT } from './headers.ts'
import { partOf } from './range.ts'

/** What a route tells caches on the way; texts of headers. */
export interface Told {
  /** Request headers that its keys hold. */
  vary: readonly string[]
  browser: string | undefined
  cdn: string | undefined
}

/**
 * Puts a stored answer into the reply: whole, a part of it, or the word that the client has it.
 * @returns what to send
 */
export function deliver(
  request: FastifyRequest,
  reply: FastifyReply,
  answer: CachedAnswer,
  conditions: Conditions,
  personal: boolean,
  told: Told,
  now: number,
): string | Buffer | undefined {
  reply.code(answer.status).headers(answer.headers)
  reply.header('age', Math.floor(ageAt(answer, now) / 1_000))
  // When it was made, not when it is sent (RFC 9111 §4).
  if (answer.headers['date'] === undefined) reply.header('date', new Date(answer.at).toUTCString())
  describe(reply, answer, personal, told)
  if (confirms(reply, answer, conditions)) return undefined
  if (request.method === 'HEAD') return answer.body
  return part(reply, answer, conditions, now)
}

/** Sets what goes with every answer that is kept. */
export function describe(reply: FastifyReply, answer: AnswerHead | CachedAnswer, personal: boolean, told: Told): void {
  const { browser, cdn, vary } = told
  if (answer.etag !== undefined) setTag(reply, answer.etag)
  // A cache between the client and here would give it to others without asking the guards.
  const byDefault = personal ? 'private, no-cache' : 'no-cache'
  const says = reply.hasHeader('cache-control') || answer.headers['expires'] !== undefined
  if (browser !== undefined && !personal) reply.header('cache-control', browser)
  else if (!says) reply.header('cache-control', byDefault)
  if (cdn !== undefined && !personal) reply.header('cdn-cache-control', cdn)
  addVary(reply, [...answer.vary, ...vary])
}

/** Answers 304 when the client has it already; whether it did. */
export function confirms(reply: FastifyReply, answer: CachedAnswer | AnswerHead, conditions: Conditions): boolean {
  const { etag, headers, status } = answer
  if (status !== 200 || !holds(conditions, { etag: etag ?? '', headers })) return false
  reply.code(304)
  if (etag !== undefined) reply.header('etag', tagFor(conditions, etag))
  // Also what hooks and Fastify itself tell of the content that is not there.
  beforeHead(reply, (head) => {
    for (const name of OF_CONTENT) head.remove(name)
  })
  return true
}

/** The whole body, or the part of it that the client asks for, with its headers (RFC 9110 §14, §15.3.7, §15.5.17). */
function part(reply: FastifyReply, answer: CachedAnswer, conditions: Conditions, now: number): string | Buffer {
  if (conditions.range === undefined) return answer.body
  const bytes = Buffer.from(answer.body as string)
  const asked = partOf(conditions, answer, bytes.length, now)
  if (asked === 'whole') return answer.body
  if (asked === 'none') {
    reply.code(416).header('content-range', `bytes */${bytes.length}`)
    return ''
  }
  reply.code(206).header('content-range', `bytes ${asked.first}-${asked.last}/${bytes.length}`)
  return bytes.subarray(asked.first, asked.last + 1)
}

/** One strong tag must not name two encodings: when somebody encodes the answer after the cache, it is weak. */
function setTag(reply: FastifyReply, etag: string): void {
  reply.header('etag', etag)
  if (isWeak(etag) || isEncoded(reply.getHeaders())) return
  beforeHead(reply, (head) => {
    if (isEncoded({ 'content-encoding': head.get('content-encoding') })) head.set('etag', `W/${etag}`)
  })
}

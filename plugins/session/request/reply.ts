import type { OutgoingHttpHeaders } from 'node:http'
import type { Readable } from 'node:stream'
import type { FastifyReply } from 'fastify'
import type { Visit } from '../visit.ts'

/** Status and headers of a reply at the moment when it was sent. */
export interface ReplyHead {
  status: number
  headers: OutgoingHttpHeaders
}

/** The reply waits for the store, and is kept as it is now. */
export function beginSaving(visit: Visit, reply: FastifyReply): void {
  visit.stage = 'saving'
  visit.head = { status: reply.raw.statusCode, headers: reply.getHeaders() as OutgoingHttpHeaders }
}

/** The reply has what it was sent with, and goes on to the next hook. */
export function endSaving(visit: Visit, reply: FastifyReply, payload: unknown): void {
  visit.stage = 'left'
  if (visit.disturbed && visit.head) restoreHead(reply, visit.head)
  if (typeof (payload as { pipe?: unknown } | null)?.pipe === 'function') visit.stream = payload as Readable
  visit.status = reply.raw.statusCode
}

/** Lets go of what was sent or thrown after the reply. */
export function ignoreSurplus(visit: Visit, reply: FastifyReply): void {
  visit.disturbed = true
  if (visit.stage === 'left' && !reply.raw.headersSent) reply.raw.statusCode = visit.status
}

/** Undoes what a second reply or an error handler has set while the first reply waited for the store. */
function restoreHead(reply: FastifyReply, { status, headers }: ReplyHead): void {
  reply.raw.statusCode = status
  for (const name of Object.keys(reply.getHeaders())) reply.removeHeader(name)
  reply.headers(headers as Record<string, string>)
}

/**
 * Whether another reply is on its way already. An `async` handler that calls `reply.send()` and returns nothing makes
 * Fastify send a second time, and handlers throw after they have sent: the first stands.
 */
export function isSurplus(visit: Visit, reply: FastifyReply): boolean {
  if (visit.stage === 'saving') return true
  // What a handler has written by itself is nobody's reply; Fastify cuts the connection.
  if (visit.stage === 'handling' || visit.raw) return false
  return reply.raw.headersSent || isStreaming(visit, reply) || !visit.failing
}

/** Whether a stream is piped into the response; the first bytes of it, and with them the head, may be yet to come. */
function isStreaming({ stream }: Visit, { raw }: FastifyReply): boolean {
  return stream !== undefined && !stream.destroyed && raw.listenerCount('unpipe') > 0
}

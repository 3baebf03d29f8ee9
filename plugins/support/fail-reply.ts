import { validateHeaderName, validateHeaderValue } from 'node:http'
import type { FastifyReply } from 'fastify'

/** What Node throws for a header, a name or a status text that no HTTP message can hold. */
const UNSENDABLE = new Set([
  'ERR_INVALID_CHAR',
  'ERR_INVALID_HTTP_TOKEN',
  'ERR_HTTP_INVALID_HEADER_VALUE',
  'ERR_HTTP_TRAILER_INVALID',
])

/** How a body is sent: what a handler has said of its own is not true of the answer that tells of the failure. */
const FRAMING = new Set(['content-length', 'transfer-encoding', 'trailer'])

/** Whether the reply could not be written because of one of its headers. */
export const isHeaderError = (error: unknown): boolean =>
  UNSENDABLE.has(`${(error as { code?: unknown } | null | undefined)?.code}`)

/**
 * Node finds out about a status text only when the head is written, which is too late for a stream: nothing catches
 * what that throws.
 * @throws ERR_INVALID_CHAR
 */
export function checkStatusText({ raw }: FastifyReply): void {
  if (raw.statusMessage) validateHeaderValue('status', raw.statusMessage)
}

/**
 * Takes away the headers that cannot be encoded (`location: /Ω`, a Cyrillic file name, a line break), so that the
 * answer which tells of the failure does not fail for the same reason, and those that frame the body it will not have.
 */
export function removeUnsendableHeaders(reply: FastifyReply): void {
  if (reply.raw.headersSent) return
  for (const [name, value] of Object.entries(reply.getHeaders())) {
    try {
      if (FRAMING.has(name.toLowerCase())) reply.removeHeader(name)
      validateHeaderName(name)
      for (const one of Array.isArray(value) ? value : [value]) validateHeaderValue(name, one as string)
    } catch {
      reply.removeHeader(name)
    }
  }
  reply.raw.statusMessage = ''
}

/**
 * Ends a request with what was thrown where no promise and no hook of it would have noticed: in a callback, a timer, a
 * store of the application. What was answered already stands; the error is logged either way.
 *
 * It throws nothing itself: its caller is the last to know of the error.
 */
export function failReply(reply: FastifyReply, thrown: unknown): void {
  const error = thrown instanceof Error ? thrown : new Error('a value was thrown that is no error', { cause: thrown })
  if (reply.sent || reply.raw.headersSent) {
    reply.log.error({ err: error }, 'failed after the reply was sent; the reply stands')
    return
  }
  try {
    removeUnsendableHeaders(reply)
    reply.send(error)
  } catch (cause) {
    reply.log.error({ err: cause }, 'the error could not be answered by its handler')
    answerRaw(reply)
  }
}

/** Without hooks, serialisers and handlers, for when these have failed. */
function answerRaw(reply: FastifyReply): void {
  const { raw } = reply
  if (raw.headersSent) {
    raw.destroy()
    return
  }
  for (const name of raw.getHeaderNames()) raw.removeHeader(name)
  const problem = {
    type: 'urn:fastify-stateful:problem:internal',
    title: 'Internal Server Error',
    status: 500,
    code: 'STATEFUL_INTERNAL',
    requestId: reply.request.id,
  }
  const body = JSON.stringify(problem)
  raw.statusMessage = ''
  raw.writeHead(500, { 'content-type': 'application/problem+json', 'content-length': Buffer.byteLength(body) })
  raw.end(body)
}

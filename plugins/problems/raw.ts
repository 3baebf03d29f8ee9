import { randomUUID } from 'node:crypto'
import { STATUS_CODES } from 'node:http'
import type { FastifyBaseLogger } from 'fastify'
import { problemOf } from './problem.ts'

/** A problem document for whom no request is known yet; it is in the log under its id. */
export function problemText(
  { log }: { log: FastifyBaseLogger },
  status: number,
  code: string,
  detail: string,
  err?: Error,
): { headers: Record<string, string | number>; body: string } {
  const requestId = randomUUID()
  log.info({ reqId: requestId, code, ...(err ? { err } : {}) }, 'request refused before it was one')
  const body = JSON.stringify(problemOf(status, code, requestId, detail))
  return {
    headers: {
      'content-type': 'application/problem+json; charset=utf-8',
      'content-length': Buffer.byteLength(body),
      'cache-control': 'no-store',
      'x-content-type-options': 'nosniff',
      connection: 'close',
    },
    body,
  }
}

/**
 * The same as a whole answer, for a connection that has no response yet.
 * @param head the request was a HEAD, whose answer has no body, whatever its headers say
 */
export function problemAnswer(
  log: { log: FastifyBaseLogger },
  { status, code, detail }: { status: number; code: string; detail: string },
  { err, head, more = {} }: { err: Error; head: boolean; more?: Record<string, string | number> },
): string {
  const { headers, body } = problemText(log, status, code, detail, err)
  const lines = Object.entries({ ...headers, ...more }).map(([name, value]) => `${name}: ${value}`)
  return [`HTTP/1.1 ${status} ${STATUS_CODES[status]}`, ...lines, '', head ? '' : body].join('\r\n')
}

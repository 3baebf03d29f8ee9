import { randomUUID } from 'node:crypto'
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

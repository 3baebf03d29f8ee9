import type { FastifyError, FastifyReply, FastifyRequest } from 'fastify'
import { rememberCode } from '../support/answered-code.ts'
import { isHeaderError, removeUnsendableHeaders } from '../support/fail-reply.ts'
import { retryAfterOf, toProblem } from './problem.ts'

/** Answers with what was thrown, as a problem document; the log has the rest of a server error. */
export function sendProblem(thrown: unknown, request: FastifyRequest, reply: FastifyReply): void {
  // JavaScript can throw anything; a handler that fails on it would answer with Fastify's own error instead.
  const error = (
    thrown instanceof Object ? thrown : new Error('a value was thrown that is no error', { cause: thrown })
  ) as FastifyError
  if (isHeaderError(error)) removeUnsendableHeaders(reply)
  const problem = toProblem(error, request)
  rememberCode(request, problem.code)
  if (problem.status >= 500) request.log.error({ err: error, code: problem.code }, 'request failed')
  const retryAfter = retryAfterOf(problem.status, error)
  if (retryAfter !== undefined && !reply.hasHeader('retry-after')) reply.header('retry-after', retryAfter)
  reply.code(problem.status).type('application/problem+json').send(problem)
}

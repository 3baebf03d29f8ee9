import { STATUS_CODES } from 'node:http'
import type { FastifyError, FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { Problem } from '../../openapi/schemas/problem.ts'
import { defineService } from '../support/define.ts'
import { codeOfStatus } from '../support/error-code.ts'
import { isHeaderError, removeUnsendableHeaders } from '../support/fail-reply.ts'

/** Fastify's own codes that tell a client something; all others become the status's general code. */
const CODES: Record<string, { code: string; status?: number }> = {
  FST_ERR_VALIDATION: { code: 'STATEFUL_INVALID_INPUT' },
  FST_ERR_CTP_INVALID_MEDIA_TYPE: { code: 'STATEFUL_UNSUPPORTED_MEDIA_TYPE' },
  FST_ERR_CTP_BODY_TOO_LARGE: { code: 'STATEFUL_BODY_TOO_LARGE' },
  FST_ERR_CTP_EMPTY_JSON_BODY: { code: 'STATEFUL_INVALID_INPUT' },
  FST_ERR_CTP_INVALID_JSON_BODY: { code: 'STATEFUL_INVALID_INPUT' },
  FST_ERR_CTP_INVALID_CONTENT_LENGTH: { code: 'STATEFUL_INVALID_INPUT' },
  // An application's own @fastify/under-pressure.
  FST_UNDER_PRESSURE: { code: 'STATEFUL_OVERLOADED' },
}

/**
 * An error as a problem document. A server error tells its code and where to look, never its message:
 * that may hold a connection string or a file name, and goes to the log instead.
 */
export function toProblem(error: FastifyError, request: FastifyRequest): Problem {
  const status = statusOf(error)
  const title = STATUS_CODES[status] ?? 'Error'
  const problem = (code: string, detail?: string): Problem => ({
    type: `urn:fastify-stateful:problem:${code
      .replace(/^STATEFUL_/, '')
      .toLowerCase()
      .replaceAll('_', '-')}`,
    title,
    status,
    code,
    ...(detail === undefined ? {} : { detail }),
    requestId: request.id,
  })

  if (error.validation) {
    const context = error.validationContext ?? 'body'
    return {
      ...problem('STATEFUL_INVALID_INPUT', `The ${context} was refused.`),
      errors: error.validation.map(({ instancePath, message, params }) => ({
        path: `/${context}${instancePath}`,
        message: [message ?? 'is invalid', unknownField(params)].join(''),
      })),
    }
  }
  if (error.code?.startsWith('STATEFUL_')) {
    // 5xx messages of ours name files, hosts and causes for the operator; 503 and 507 keep only their code.
    return problem(error.code, status >= 500 ? undefined : error.message)
  }
  const known = error.code ? CODES[error.code]?.code : undefined
  if (status >= 500) return problem(known ?? (status === 503 ? 'STATEFUL_UNAVAILABLE' : 'STATEFUL_INTERNAL'))
  return problem(known ?? codeOfStatus(status), error.message)
}

function statusOf(error: FastifyError): number {
  // `secure-json-parse` reports `__proto__` as a plain SyntaxError with a status.
  const status = error.statusCode ?? (error as { status?: number }).status ?? 500
  return status >= 400 && status <= 599 ? status : 500
}

function unknownField(params: Record<string, unknown> | undefined): string {
  const name = params?.['additionalProperty']
  return typeof name === 'string' ? `: '${name.slice(0, 64)}'` : ''
}

function sendProblem(thrown: unknown, request: FastifyRequest, reply: FastifyReply): void {
  // JavaScript can throw anything; a handler that fails on it would answer with Fastify's own error instead.
  const error = (
    thrown instanceof Object ? thrown : new Error('a value was thrown that is no error', { cause: thrown })
  ) as FastifyError
  if (isHeaderError(error)) removeUnsendableHeaders(reply)
  const problem = toProblem(error, request)
  if (problem.status >= 500) request.log.error({ err: error, code: problem.code }, 'request failed')
  if ((problem.status === 503 || problem.status === 429) && !reply.hasHeader('retry-after'))
    reply.header('retry-after', '1')
  reply.code(problem.status).type('application/problem+json').send(problem)
}

/** Answers every error of this scope as a problem document; the host's own scopes keep their handler. */
export function useProblems(fastify: FastifyInstance): void {
  fastify.setErrorHandler(sendProblem)
}

/** Problem documents for the whole instance, unknown routes included. */
export const problems = defineService('problems', async (fastify) => {
  useProblems(fastify)
  fastify.setNotFoundHandler((request, reply) => {
    const error = Object.assign(new Error(`There is no ${request.method} ${request.url.split('?')[0]}.`), {
      statusCode: 404,
      code: 'STATEFUL_NOT_FOUND',
      name: 'NotFoundError',
    })
    sendProblem(error as FastifyError, request, reply)
  })
})

export default problems

import { STATUS_CODES } from 'node:http'
import type { FastifyError, FastifyRequest } from 'fastify'
import type { Problem } from '../../openapi/schemas/problem.ts'
import { codeOfStatus } from '../support/error-code.ts'
import { refusedAction } from '../support/refused-action.ts'
import { StatefulError } from '../support/stateful-error.ts'

/** Fastify's own codes that tell a client something; all others become the status's general code. */
const CODES: Record<string, { code: string; detail?: string }> = {
  FST_ERR_VALIDATION: { code: 'STATEFUL_INVALID_INPUT' },
  FST_ERR_CTP_INVALID_MEDIA_TYPE: { code: 'STATEFUL_UNSUPPORTED_MEDIA_TYPE' },
  FST_ERR_CTP_BODY_TOO_LARGE: { code: 'STATEFUL_BODY_TOO_LARGE' },
  FST_ERR_CTP_EMPTY_JSON_BODY: { code: 'STATEFUL_INVALID_INPUT' },
  FST_ERR_CTP_INVALID_JSON_BODY: { code: 'STATEFUL_INVALID_INPUT' },
  FST_ERR_CTP_INVALID_CONTENT_LENGTH: { code: 'STATEFUL_INVALID_INPUT' },
  FST_UNDER_PRESSURE: { code: 'STATEFUL_OVERLOADED' },
  FST_ERR_BAD_URL: { code: 'STATEFUL_INVALID_URL', detail: 'The path is not percent-encoded UTF-8.' },
  FST_ERR_MAX_PARAM_LENGTH: { code: 'STATEFUL_URI_TOO_LONG', detail: 'A part of the path is too long.' },
  FST_ERR_NOT_FOUND: { code: 'STATEFUL_NOT_FOUND' },
}

/** A problem document out of its parts. */
export function problemOf(status: number, code: string, requestId: string, detail?: string): Problem {
  const kind = code
    .replace(/^STATEFUL_/, '')
    .toLowerCase()
    .replaceAll('_', '-')
  return {
    type: `urn:fastify-stateful:problem:${kind}`,
    title: STATUS_CODES[status] ?? 'Error',
    status,
    code,
    ...(detail === undefined ? {} : { detail }),
    requestId,
  }
}

/**
 * An error as a problem document. A server error tells its code and where to look, never its message:
 * that may hold a connection string or a file name, and goes to the log instead.
 */
export function toProblem(error: FastifyError, request: Pick<FastifyRequest, 'id'>, status = statusOf(error)): Problem {
  const problem = (code: string, detail?: string) => problemOf(status, code, request.id, detail)
  if (error.validation && status < 500) {
    const context = error.validationContext ?? 'body'
    return {
      ...problem('STATEFUL_INVALID_INPUT', `The ${context} was refused.`),
      errors: error.validation.map(({ instancePath, message, params }) => ({
        path: `/${context}${instancePath}`,
        message: [message ?? 'is invalid', unknownField(params)].join(''),
      })),
    }
  }
  if (error instanceof StatefulError) {
    // 5xx messages of ours name files, hosts and causes for the operator; 503 and 507 keep only their code.
    const told = problem(error.code, status >= 500 ? undefined : error.message)
    return { ...told, ...refusedPlaces(error), ...refusedAction(error) }
  }
  const known = error.code ? CODES[error.code] : undefined
  if (status >= 500) return problem(known?.code ?? (status === 503 ? 'STATEFUL_UNAVAILABLE' : 'STATEFUL_INTERNAL'))
  return problem(known?.code ?? codeOfStatus(status), known?.detail ?? error.message)
}

/** Of an error that knows them: the places that were refused. */
function refusedPlaces({ errors }: StatefulError & { errors?: Problem['errors'] }): Pick<Problem, 'errors'> {
  return errors === undefined ? {} : { errors }
}

/** Seconds after which to try again: an answer that tells of no room or no service tells this as well. */
export function retryAfterOf(status: number, error: unknown): number | undefined {
  if (status !== 503 && status !== 429) return undefined
  const { retryAfter } = error as { retryAfter?: unknown }
  return Number.isSafeInteger(retryAfter) && (retryAfter as number) > 0 ? (retryAfter as number) : 1
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

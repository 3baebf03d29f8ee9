import { STATUS_CODES } from 'node:http'
import type { FastifyError, FastifyReply, FastifyRequest } from 'fastify'
import { defineService } from '../support/define.ts'
import { NotFoundError } from '../support/errors.ts'
import { watchConnections } from './connections.ts'
import { retryAfterOf, toProblem } from './problem.ts'

/** How Fastify answers an error, and an unknown route, when the application has not said how. */
interface DefaultAnswer {
  statusCode: number
  error: string
  message: string
  code?: string
}

/**
 * Makes Fastify's own answers to errors problem documents, for an application without an error handler: those of error
 * handlers, of not-found handlers and of routes that the application has stay as they are.
 */
export const defaultErrors = defineService('default-errors', async (fastify) => {
  const thrown = new WeakMap<FastifyRequest, FastifyError>()
  watchConnections(fastify)
  fastify.addHook('onError', async (request, _reply, error) => {
    thrown.set(request, error)
  })
  fastify.addHook('onSend', (request, reply, payload, done) => {
    if (reply.statusCode < 400) return done()
    const answer = defaultAnswer(reply, payload)
    if (!answer) return done()
    const error = thrown.get(request) ?? notFound(answer, request)
    if (!error) return done()
    const problem = toProblem(error, request, answer.statusCode)
    const retryAfter = retryAfterOf(problem.status, error)
    if (retryAfter !== undefined && !reply.hasHeader('retry-after')) reply.header('retry-after', retryAfter)
    const text = JSON.stringify(problem)
    reply.header('content-type', 'application/problem+json; charset=utf-8')
    reply.header('content-length', Buffer.byteLength(text))
    done(null, text)
  })
})

function defaultAnswer(reply: FastifyReply, payload: unknown): DefaultAnswer | undefined {
  if (typeof payload !== 'string' || !/^application\/json\b/.test(String(reply.getHeader('content-type'))))
    return undefined
  let answer: Partial<DefaultAnswer> | null
  try {
    answer = JSON.parse(payload)
  } catch {
    return undefined
  }
  if (typeof answer !== 'object' || answer === null) return undefined
  const { statusCode, error, message, code, ...rest } = answer
  const isDefault =
    statusCode === reply.statusCode &&
    error === STATUS_CODES[statusCode] &&
    typeof message === 'string' &&
    (code === undefined || typeof code === 'string') &&
    Object.keys(rest).length === 0
  return isDefault ? (answer as DefaultAnswer) : undefined
}

/** Nothing was thrown for a route that there is not. */
function notFound({ statusCode, message }: DefaultAnswer, { method, url }: FastifyRequest): FastifyError | undefined {
  if (statusCode !== 404 || message !== `Route ${method}:${url} not found`) return undefined
  return new NotFoundError(`${method} ${url.split('?')[0]}`)
}

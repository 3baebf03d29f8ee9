import type { FastifyError, FastifyInstance } from 'fastify'
import { defineService } from '../support/define.ts'
import { watchConnections } from './connections.ts'
import { sendProblem } from './send.ts'

export { defaultErrors } from './default-errors.ts'
export { toProblem } from './problem.ts'
export { type ServerSettings, serverOptions } from './server-options.ts'

/** Answers every error of this scope as a problem document; the host's own scopes keep their handler. */
export function useProblems(fastify: FastifyInstance): void {
  fastify.setErrorHandler(sendProblem)
}

/**
 * Problem documents for the whole instance: unknown routes, requests without a Host, expectations that cannot be met and
 * requests that come while it closes included. Errors before Fastify knows a request need `serverOptions()` as well.
 */
export const problems = defineService('problems', async (fastify) => {
  useProblems(fastify)
  watchConnections(fastify)
  fastify.setNotFoundHandler((request, reply) => {
    const error = Object.assign(new Error(`There is no ${request.method} ${request.url.split('?')[0]}.`), {
      statusCode: 404,
      code: 'STATEFUL_NOT_FOUND',
      name: 'NotFoundError',
    })
    sendProblem(error as FastifyError, request, reply)
  })
})

import type { FastifyInstance } from 'fastify'
import { defineService } from '../support/define.ts'
import { NotFoundError } from '../support/errors.ts'
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
    sendProblem(new NotFoundError(`${request.method} ${request.url.split('?')[0]}`), request, reply)
  })
})

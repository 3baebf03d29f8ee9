import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { FastifyInstance } from 'fastify'
import { ClosingError, MissingHostError } from '../support/errors.ts'
import { problemText } from './raw.ts'

/** The answer that a connection is or was last about: nothing else may be written into the middle of it. */
const answers = new WeakMap<Socket, ServerResponse>()

/** Whether something of an answer has been sent on the connection that is not complete. */
export function isAnswering(socket: Socket): boolean {
  const answer = answers.get(socket)
  return answer?.headersSent === true && !answer.writableFinished
}

/**
 * What Node and Fastify would answer without a word, or in words of their own, after they know a request: one without a
 * Host, one whose expectation cannot be met, one that comes while the instance closes. The last needs Fastify's
 * `return503OnClosing: false`.
 */
export function watchConnections(fastify: FastifyInstance): void {
  let closing = false
  fastify.addHook('preClose', async () => {
    closing = true
  })
  fastify.addHook('onRequest', (request, reply, done) => {
    const { raw } = request
    answers.set(raw.socket, reply.raw)
    if (closing) return done(new ClosingError())
    if (raw.headers.host === undefined && raw.httpVersion === '1.1') return done(new MissingHostError())
    done()
  })
  fastify.server.on('checkExpectation', (_request: IncomingMessage, response: ServerResponse) => {
    const { headers, body } = problemText(
      fastify,
      417,
      'STATEFUL_EXPECTATION_FAILED',
      'Only 100-continue can be expected.',
    )
    response.writeHead(417, headers).end(body)
  })
}

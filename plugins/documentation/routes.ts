import { Type } from '@sinclair/typebox'
import type { FastifyInstance } from 'fastify'
import { type AsyncApiOptions, asyncApiDocument } from '../../openapi/asyncapi.ts'
import { describeCookie, describeRoutes } from '../../openapi/operation.ts'
import { Problem } from '../../openapi/schemas/problem.ts'
import { problems } from '../../openapi/schemas/responses.ts'
import { useProblems } from '../problems/index.ts'
import type { SessionCookies } from '../session/request/signed-cookies.ts'
import { NotFoundError } from '../support/errors.ts'
import { useSchemas } from '../support/schemas.ts'
import type { Socket } from './sockets.ts'

const documentResponse = (description: string, example: object) => ({
  description,
  content: {
    'application/json': {
      schema: Type.Object({}, { additionalProperties: true, description, examples: [example] }),
    },
  },
})

/** `GET /openapi.json` and `GET /asyncapi.json`. */
export function documentRoutes(
  scope: FastifyInstance,
  prefix: string,
  document: () => object,
  sockets: readonly Socket[],
): void {
  useSchemas(scope, Problem)
  useProblems(scope)
  describeRoutes(scope)
  // It does not change once all routes are known, so it is serialised once.
  let openapi: string | undefined
  scope.get(
    `${prefix}/openapi.json`,
    {
      schema: {
        operationId: 'getOpenApi',
        tags: ['documentation'],
        summary: 'The OpenAPI document of this API',
        description: 'In production only for administrators, unless configured otherwise.',
        security: [],
        response: {
          200: documentResponse('The document.', {
            openapi: '3.1.0',
            info: { title: 'API', version: '1.0.0' },
            paths: {},
          }),
          ...problems(401, 403),
        },
      },
    },
    (_request, reply) => {
      openapi ??= JSON.stringify(document())
      return reply.type('application/json').send(openapi)
    },
  )
  const schema = {
    operationId: 'getAsyncApi',
    tags: ['documentation'],
    summary: 'The AsyncAPI 3 document of the WebSocket',
    description: 'In production only for administrators, unless configured otherwise.',
    security: [],
    // Until there is a WebSocket to describe, there is no such document; the routes come after this.
    get hide() {
      return sockets.length === 0
    },
    response: {
      200: documentResponse('The document.', { asyncapi: '3.0.0', info: { title: 'API', version: '1.0.0' } }),
      ...problems(401, 403),
    },
  }
  scope.get(`${prefix}/asyncapi.json`, { schema }, ({ host, protocol, url }, reply) => {
    if (sockets.length === 0) throw new NotFoundError(`GET ${url.split('?')[0]}`)
    const { info = { title: 'API', version: '1.0.0' } } = document() as { info?: AsyncApiOptions['info'] }
    const body = asyncApiDocument({
      info,
      host,
      protocol: protocol === 'https' ? 'wss' : 'ws',
      sockets,
      cookie: cookieOf(scope),
    })
    return reply.type('application/json').send(JSON.stringify(body))
  })
}

function cookieOf(scope: FastifyInstance) {
  if (!scope.hasDecorator('sessionCookies')) return undefined
  const { cookie } = scope.getDecorator<SessionCookies>('sessionCookies')
  return { name: cookie.name, description: describeCookie(cookie) }
}

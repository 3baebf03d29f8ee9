import { Type } from '@sinclair/typebox'
import type { FastifyInstance } from 'fastify'
import { asyncApiDocument } from '../../openapi/asyncapi.ts'
import { swaggerOptions } from '../../openapi/document.ts'
import type { DocumentOptions } from '../../openapi/document-options.ts'
import { Problem } from '../../openapi/schemas/problem.ts'
import { problems } from '../../openapi/schemas/responses.ts'
import { useProblems } from '../problems/index.ts'
import { EXPOSURE_RULES, type ExposureOptions, exposureGuard } from '../security/exposure.ts'
import { defineService } from '../support/define.ts'
import { missingFor } from '../support/optional-peer.ts'
import { asGiven, type Rules, readOptions, text } from '../support/options.ts'
import { useSchemas } from '../support/schemas.ts'

export type { DocumentOptions } from '../../openapi/document-options.ts'

export interface DocumentationOptions extends DocumentOptions, ExposureOptions {
  /** Stands before the paths, as for the routes. A service is not encapsulated, so Fastify does not add it. */
  prefix?: string
}

/** What each option must be. */
export const DOCUMENTATION_RULES = {
  ...EXPOSURE_RULES,
  prefix: text(undefined),
  title: text(undefined),
  version: text(undefined),
  servers: asGiven<DocumentOptions['servers']>(),
  cookieName: text(undefined),
} satisfies Rules<DocumentationOptions>

/**
 * Swagger UI needs no more than this: all its files are its own. It styles elements by attributes (hence
 * `unsafe-inline` for styles, which cannot run code) and has its icons in `data:` URLs.
 */
const CONTENT_SECURITY_POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self' 'unsafe-inline'",
  "img-src 'self' data:",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join('; ')

const Document = Type.Object({}, { additionalProperties: true, description: 'The document.' })

/**
 * The contract, made of the schemas of the routes: Swagger UI at `/docs` (offline), `GET /openapi.json` and
 * `GET /asyncapi.json`. Register it after the session service (its guard asks for the session's user) and
 * before the routes that it documents.
 */
export const documentation = defineService<DocumentationOptions>('documentation', async (fastify, options) => {
  readOptions(DOCUMENTATION_RULES, options, 'documentation')
  await fastify.register(
    import('@fastify/swagger').catch(missingFor('@fastify/swagger', 'documentation')),
    swaggerOptions(options),
  )
  if (options.expose === 'never') return
  const prefix = options.prefix ?? ''
  const guard = exposureGuard(options, 'docs')
  if (guard && !options.authorize && !fastify.hasRequestDecorator('session')) {
    const log = fastify.log.child({ plugin: 'documentation' })
    log.warn('the documentation is closed: in production it needs the session service, registered before it')
  }
  await fastify.register(async (scope) => {
    useProblems(scope)
    if (guard) scope.addHook('onRequest', guard)
    await scope.register(import('@fastify/swagger-ui').catch(missingFor('@fastify/swagger-ui', 'documentation')), {
      routePrefix: `${prefix}/docs`,
      staticCSP: CONTENT_SECURITY_POLICY,
      uiConfig: { docExpansion: 'list', filter: true, persistAuthorization: false, displayRequestDuration: true },
    })
    documents(scope, prefix)
  })
})

/** In the guarded scope, yet outside that of Swagger UI, whose policy for pages means nothing to JSON. */
function documents(scope: FastifyInstance, prefix: string): void {
  useSchemas(scope, Problem)
  const responses = {
    200: { description: 'The document.', content: { 'application/json': { schema: Document } } },
    ...problems(401, 403),
  }
  // It does not change once all routes are known, so it is serialised once.
  let openapi: string | undefined
  scope.get(
    `${prefix}/openapi.json`,
    {
      schema: {
        operationId: 'getOpenApi',
        tags: ['documentation'],
        summary: 'The OpenAPI 3.1 document of this API',
        description: 'In production only for administrators, unless configured otherwise.',
        security: [],
        response: responses,
      },
    },
    (_request, reply) => {
      openapi ??= JSON.stringify(scope.swagger())
      return reply.type('application/json').send(openapi)
    },
  )
  scope.get(
    `${prefix}/asyncapi.json`,
    {
      schema: {
        operationId: 'getAsyncApi',
        tags: ['documentation'],
        summary: 'The AsyncAPI 3 document of the WebSocket at `/sync`',
        description: 'In production only for administrators, unless configured otherwise.',
        security: [],
        response: responses,
      },
    },
    ({ host, protocol }, reply) => {
      const { prefix } = scope.hasDecorator('sync') ? scope.getDecorator<{ prefix: string }>('sync') : { prefix: '' }
      const document = asyncApiDocument({ host, protocol: protocol === 'https' ? 'wss' : 'ws', prefix })
      return reply.type('application/json').send(JSON.stringify(document))
    },
  )
}

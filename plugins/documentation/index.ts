import type { FastifyInstance, RouteOptions } from 'fastify'
import type { OpenApiOptions } from '../../openapi/document-options.ts'
import { isOurs } from '../../openapi/operation.ts'
import { EXPOSURE_RULES, type ExposureOptions, exposureGuard } from '../security/exposure.ts'
import { defineService } from '../support/define.ts'
import { NameClashError } from '../support/errors.ts'
import { missingFor } from '../support/optional-peer.ts'
import { asGiven, flag, type Rules, readOptions, text } from '../support/options.ts'
import { refuseNamesakes } from '../support/schemas.ts'
import { documentOf } from './document.ts'
import { documentRoutes } from './routes.ts'
import { socketsOf } from './sockets.ts'

export type { OpenApiOptions } from '../../openapi/document-options.ts'

export interface DocumentationOptions extends ExposureOptions {
  /** Stands before the paths, as for the routes. A service is not encapsulated, so Fastify does not add it. */
  prefix?: string
  /** What the application says about its API. With an own @fastify/swagger, say it there. */
  openapi?: OpenApiOptions
  /** Swagger UI at `/docs`. Default `true`. */
  ui?: boolean
}

/** What each option must be. @internal */
export const DOCUMENTATION_RULES = {
  ...EXPOSURE_RULES,
  prefix: text(''),
  openapi: asGiven<OpenApiOptions>(),
  ui: flag(true),
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

/**
 * The contract, made of the schemas of the routes: Swagger UI at `/docs` (offline), `GET /openapi.json` and
 * `GET /asyncapi.json`. Register it after the session service (its guard asks for the session's user) and
 * before the routes that it documents.
 *
 * The document is that of the application's own @fastify/swagger, registered before or after this; where there is none,
 * this registers it, and decorates `app.swagger()`.
 *
 * @throws at boot STATEFUL_INVALID_OPTION, STATEFUL_MISSING_PACKAGE, STATEFUL_NAME_CLASH
 *
 * @example
 * ```ts
 * await app.register(documentation, {
 *   openapi: { info: { title: 'Shop', version: '2.1.0' }, tags: [{ name: 'orders', description: 'What is sold.' }] },
 * })
 * ```
 */
export const documentation = defineService<DocumentationOptions>('documentation', async (fastify, options) => {
  const { openapi, prefix, ui } = readOptions(DOCUMENTATION_RULES, options, 'documentation')
  const log = fastify.log.child({ plugin: 'documentation' })
  const document = await documentOf(fastify, openapi, log)
  const sockets = socketsOf(fastify)
  refuseNames(fastify)
  if (options.expose === 'never') return
  const guard = exposureGuard(options, 'docs')
  if (guard && !options.authorize && !fastify.hasRequestDecorator('session')) {
    log.warn('the documentation is closed: in production it needs the session service, registered before it')
  }
  await fastify.register(async (scope) => {
    if (guard) scope.addHook('onRequest', guard)
    documentRoutes(scope, prefix, document, sockets)
    if (ui) await serveSwaggerUi(scope, prefix, document)
  })
})

async function serveSwaggerUi(
  scope: FastifyInstance,
  prefix: string,
  document: FastifyInstance['swagger'],
): Promise<void> {
  await scope.register(async (pages) => {
    // What Swagger UI shows; of this scope alone, whatever the application's is called.
    pages.decorate('swagger', document)
    await pages.register(import('@fastify/swagger-ui').catch(missingFor('@fastify/swagger-ui', 'documentation')), {
      routePrefix: `${prefix}/docs`,
      staticCSP: CONTENT_SECURITY_POLICY,
      uiConfig: { docExpansion: 'list', filter: true, persistAuthorization: false, displayRequestDuration: true },
    })
  })
}

/**
 * Looks into every scope: a document has one component and one operation of each name, whichever scope it is from.
 * @throws at boot STATEFUL_NAME_CLASH
 */
function refuseNames(fastify: FastifyInstance): void {
  const scopes = new Set([fastify])
  // Which are ours shows once the hooks of their scopes have run.
  const routes: RouteOptions[] = []
  fastify.addHook('onRoute', (route) => void routes.push(route))
  fastify.addHook('onRegister', (scope) => {
    scopes.add(scope)
  })
  fastify.addHook('onReady', async () => {
    for (const scope of scopes) refuseNamesakes(scope)
    scopes.clear()
    refuseOperations(routes.splice(0))
  })
}

function refuseOperations(routes: readonly RouteOptions[]): void {
  const documented = routes.flatMap((route) => {
    const { operationId, hide } = (route.schema ?? {}) as { operationId?: string; hide?: boolean }
    if (operationId === undefined || hide || route.method === 'HEAD') return []
    return [{ operationId, ours: isOurs(route), name: `${route.method} ${route.url}` }]
  })
  const ours = new Map(documented.filter(({ ours }) => ours).map(({ operationId, name }) => [operationId, name]))
  for (const theirs of documented.filter(({ ours }) => !ours)) {
    const name = ours.get(theirs.operationId)
    if (name) throw new NameClashError(`operation '${theirs.operationId}' (${theirs.name})`, `that of '${name}'`)
  }
}

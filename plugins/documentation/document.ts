import type { FastifyBaseLogger, FastifyInstance, RouteOptions } from 'fastify'
import { swaggerOptions } from '../../openapi/document.ts'
import type { OpenApiOptions } from '../../openapi/document-options.ts'
import { isOurs } from '../../openapi/operation.ts'
import { missingFor } from '../support/optional-peer.ts'
import { invalidOption } from '../support/options.ts'

/** Our @fastify/swagger has this decorator, so that the application's, which may come later, can have its own. */
const OURS = 'statefulDocument'

/**
 * What gives the document once the application is ready: the application's own @fastify/swagger, registered before or
 * after, or ours.
 *
 * @throws STATEFUL_INVALID_OPTION, STATEFUL_MISSING_PACKAGE
 */
export async function documentOf(
  fastify: FastifyInstance,
  openapi: OpenApiOptions | undefined,
  log: FastifyBaseLogger,
): Promise<FastifyInstance['swagger']> {
  const theirs = ((options: { yaml?: false }) => fastify.swagger(options)) as FastifyInstance['swagger']
  if (fastify.hasDecorator('swagger')) {
    if (openapi)
      throw invalidOption('documentation.openapi', 'is for a document of ours: give it to your @fastify/swagger.')
    return theirs
  }
  await fastify.register(import('@fastify/swagger').catch(missingFor('@fastify/swagger', 'documentation')), {
    ...swaggerOptions(openapi),
    decorator: OURS,
  })
  /** Those that the application's @fastify/swagger, which is not there yet, will not see. */
  const early: RouteOptions[] = []
  fastify.addHook('onRoute', (route) => {
    if (!fastify.hasDecorator('swagger')) early.push(route)
  })
  fastify.addHook('onReady', async () => {
    if (!fastify.hasDecorator('swagger')) {
      // Not by `decorate`, which has to be done before it can be known that nobody else does.
      fastify.swagger = fastify.getDecorator<FastifyInstance['swagger']>(OURS)
      return
    }
    if (openapi) log.warn('the option `openapi` is not used: your own @fastify/swagger has the document')
    const routes = early.filter(isDocumented).map(({ method, url }) => `${method} ${url}`)
    if (routes.length > 0) {
      log.warn({ routes }, 'routes are not in your document: register @fastify/swagger before them')
    }
  })
  return theirs
}

/** Ours alone: what the application leaves out of its document is for it to know. */
function isDocumented(route: RouteOptions): boolean {
  const { hide } = (route.schema ?? {}) as { hide?: boolean }
  return isOurs(route) && route.method !== 'HEAD' && !hide
}

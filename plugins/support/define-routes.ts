import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox'
import type { FastifyPluginAsync, FastifyPluginOptions, RawServerDefault } from 'fastify'
import fp from 'fastify-plugin'
import { describeRoutes } from '../../openapi/operation.ts'
import { FASTIFY_VERSIONS, type Needs, pluginName } from './define.ts'

/** The type of a route plugin: the type provider does not cross `register` by itself. */
export type RoutesPlugin<Options extends FastifyPluginOptions> = FastifyPluginAsync<
  Options,
  RawServerDefault,
  TypeBoxTypeProvider
>

/**
 * Routes: the same checks at boot, but encapsulated, so that `prefix` works and hooks stay inside. Documents describe them
 * as they run here.
 */
export function defineRoutes<Options extends FastifyPluginOptions>(
  name: string,
  plugin: RoutesPlugin<Options>,
  needs: Needs = {},
): RoutesPlugin<Options> {
  const described: FastifyPluginAsync<Options> = async (fastify, options) => {
    describeRoutes(fastify)
    await (plugin as FastifyPluginAsync<Options>)(fastify, options)
  }
  return fp(described, {
    name: pluginName(`${name}-routes`),
    fastify: FASTIFY_VERSIONS,
    encapsulate: true,
    ...needs,
  }) as RoutesPlugin<Options>
}

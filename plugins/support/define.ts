import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox'
import type { FastifyPluginAsync, FastifyPluginOptions, RawServerDefault } from 'fastify'
import fp from 'fastify-plugin'
import { describeRoutes } from '../../openapi/operation.ts'

/** Of Fastify, on which the plugins register; the same as in `peerDependencies`. */
export const FASTIFY_VERSIONS = '^5.12.8 || ^6.0.0-alpha.1'

interface Needs {
  /** Names of plugins that must have been registered before. */
  dependencies?: string[]
  /** Decorators that must be there, whoever made them: this is how services meet. */
  decorators?: { fastify?: string[]; request?: string[]; reply?: string[] }
}

/** Every plugin of this package is called `stateful-<service>` in Fastify's plugin list. */
export const pluginName = (service: string): string => `stateful-${service}`

/**
 * A service: decorates the instance that registers it (breaks encapsulation) and refuses to boot,
 * by name, when something it needs is missing.
 */
export function defineService<Options extends FastifyPluginOptions>(
  service: string,
  plugin: FastifyPluginAsync<Options>,
  needs: Needs = {},
): FastifyPluginAsync<Options> {
  return fp(plugin, { name: pluginName(service), fastify: FASTIFY_VERSIONS, ...needs })
}

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

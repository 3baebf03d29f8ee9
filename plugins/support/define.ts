import type { FastifyPluginAsync, FastifyPluginOptions } from 'fastify'
import fp from 'fastify-plugin'

/** Of Fastify, on which the plugins register; the same as in `peerDependencies`. */
export const FASTIFY_VERSIONS = '^5.12.8 || ^6.0.0-alpha.1'

/** What a plugin needs to be there when it is registered. */
export interface Needs {
  /** Names of plugins that must have been registered before. */
  dependencies?: string[]
  /** Decorators that must be there, whichever plugin made them: this is how services meet. */
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

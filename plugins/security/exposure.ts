import type { onRequestAsyncHookHandler } from 'fastify'
import { choice, flag, type Rules } from '../support/options.ts'
import { isProduction } from '../support/production.ts'
import type { Resources } from './access.ts'
import { AUTHORIZE_RULES, type Authorize, demand } from './authorize.ts'

/** Who may open a page that is meant for those who run the application. */
export interface ExposureOptions {
  /**
   * `'always'`: everybody. `'never'`: it is not registered at all, so it answers 404.
   * `'development'`: everybody outside production; in production only whom `authorize` lets in.
   * Default `'development'`.
   */
  expose?: 'always' | 'development' | 'never'
  /** Who may open it in production. Default: the role `administrator`. */
  authorize?: Authorize
  /** Default: whether `NODE_ENV` is set to anything but `development` and `test`. */
  production?: boolean
}

export const EXPOSURE_RULES = {
  expose: choice(['always', 'development', 'never'], undefined),
  ...AUTHORIZE_RULES,
  production: flag(undefined),
} satisfies Rules<ExposureOptions>

/**
 * The guard of such a page, or nothing when everybody may open it. Add it to the encapsulated scope that holds
 * the page: a hook of the scope covers every route in it, including static files that a plugin adds by itself
 * (the swagger-ui of CVE-2026-133273 gives those no hooks of their own).
 */
export function exposureGuard(
  options: ExposureOptions,
  page: Resources['docs:read']['page'],
): onRequestAsyncHookHandler | undefined {
  const { expose = 'development', authorize, production = isProduction() } = options
  if (expose === 'always' || !production) return undefined
  return async (request) => demand(authorize, request, `${page}:read`, { page })
}

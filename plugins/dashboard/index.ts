import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { useProblems } from '../problems/index.ts'
import { EXPOSURE_RULES, type ExposureOptions, exposureGuard } from '../security/exposure.ts'
import { defineRoutes } from '../support/define-routes.ts'
import { missingFor } from '../support/optional-peer.ts'
import { type Rules, readOptions, text } from '../support/options.ts'

export interface DashboardOptions extends ExposureOptions {
  /** Folder of the built page. Default: where `npm run build` puts it. */
  root?: string
}

/** What each option must be. @internal */
export const DASHBOARD_RULES = { ...EXPOSURE_RULES, root: text(undefined) } satisfies Rules<DashboardOptions>

/** The page is three files of ours: nothing inline, nothing from elsewhere. */
const CONTENT_SECURITY_POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self' data:",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join('; ')

/**
 * The console, at `GET /dashboard`: a page that asks the routes of this package, and shows a login form to who is not
 * logged in. So it is open by default, in production too: the files hold no secret, what they show is guarded where it
 * is, and nobody could reach a login form behind the guard. With `expose: 'development'` the page itself needs the
 * administrator in production.
 */
export const dashboard = defineRoutes<DashboardOptions>('dashboard', async (fastify, options) => {
  readOptions(DASHBOARD_RULES, options, 'dashboard')
  if (options.expose === 'never') return
  const root = options.root ?? builtPage()
  if (root === undefined) {
    fastify.log
      .child({ plugin: 'dashboard' })
      .warn('the dashboard is not built, so it is not served; run `npm run build`')
    return
  }
  useProblems(fastify)
  const guard = exposureGuard({ ...options, expose: options.expose ?? 'always' }, 'dashboard')
  if (guard) fastify.addHook('onRequest', guard)
  fastify.addHook('onRequest', async (_request, reply) => {
    reply.header('content-security-policy', CONTENT_SECURITY_POLICY)
    reply.header('x-content-type-options', 'nosniff')
  })
  // One route a file, not a wildcard: there is nothing to traverse to.
  await fastify.register(import('@fastify/static').catch(missingFor('@fastify/static', 'dashboard')), {
    root,
    prefix: '/dashboard/',
    wildcard: false,
    index: false,
  })

  fastify.get('/dashboard', { schema: { hide: true } }, (request, reply) =>
    // The page's own URLs are relative to its parent, so that any prefix works; a slash would put them one lower.
    request.url.split('?')[0]?.endsWith('/') ? reply.redirect('../dashboard') : reply.sendFile('index.html'),
  )
  const { ignoreTrailingSlash, routerOptions } = fastify.initialConfig
  if (!(routerOptions?.ignoreTrailingSlash ?? ignoreTrailingSlash)) {
    fastify.get('/dashboard/', { schema: { hide: true } }, (_request, reply) => reply.redirect('../dashboard'))
  }
})

/** In `dist/`: seen from a chunk, from this plugin's own module there, and from the sources. */
function builtPage(): string | undefined {
  return ['../dashboard/', '../../dashboard/', '../../dist/dashboard/']
    .map((folder) => fileURLToPath(new URL(folder, import.meta.url)))
    .find((folder) => existsSync(`${folder}dashboard.js`))
}

import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import Fastify from 'fastify'
import t, { type Test } from 'tap'
import { type DashboardOptions, dashboard } from '../../../plugins/dashboard/index.ts'
import type { SessionUser } from '../../../plugins/session/user.ts'
import { temporaryFolder } from '../../fixtures/storages.ts'

const { buildDashboard } = (await import(new URL('../../../dashboard/build.mjs', import.meta.url).href)) as {
  buildDashboard: (outdir: string) => Promise<void>
}
const root = await temporaryFolder(t)
await buildDashboard(root)

const FILES = ['/dashboard', '/dashboard/dashboard.js', '/dashboard/dashboard.css', '/dashboard/index.html']

interface StartOptions extends DashboardOptions {
  prefix?: string
  ignoreTrailingSlash?: boolean
}

async function start(t: Test, { ignoreTrailingSlash = false, ...options }: StartOptions, user?: SessionUser) {
  const app = Fastify({ routerOptions: { ignoreTrailingSlash } })
  t.teardown(() => app.close())
  app.decorateRequest('session')
  app.addHook('onRequest', async (request) => {
    if (user) request.session = { user } as typeof request.session
  })
  await app.register(dashboard, { root, ...options })
  return app
}

t.test('the page is small, and all that it needs is its own', async (t) => {
  const files = await readdir(root)
  t.same(files.sort(), ['dashboard.css', 'dashboard.js', 'index.html'])
  const sizes = await Promise.all(files.map(async (file) => gzipSync(await readFile(join(root, file))).length))
  t.ok(sizes.reduce((sum, size) => sum + size, 0) < 100_000, `${sizes} bytes as they are sent`)
  const app = await start(t, { production: false })
  for (const url of FILES) {
    const response = await app.inject(url)
    t.equal(response.statusCode, 200, url)
    const policy = String(response.headers['content-security-policy'])
    t.match(policy, /default-src 'none'.*script-src 'self'.*style-src 'self'.*frame-ancestors 'none'/)
    t.notMatch(policy, /unsafe/)
    t.equal(response.headers['x-content-type-options'], 'nosniff')
  }
  const page = (await app.inject('/dashboard')).body
  t.notMatch(page, /<script>|<style|\son\w+=|style=|https?:/i, 'nothing inline, nothing from elsewhere')
  t.notMatch((await app.inject('/dashboard/dashboard.css')).body, /url\(|@import/)
})

t.test('its URLs work under any prefix, with and without a slash at the end', async (t) => {
  for (const [prefix, ignoreTrailingSlash] of [
    ['', false],
    ['/api/v1', false],
    ['/api/v1', true],
  ] as const) {
    const app = await start(t, { production: false, prefix, ignoreTrailingSlash })
    const page = await app.inject(`${prefix}/dashboard`)
    const base = `http://host${prefix}/dashboard`
    for (const [, reference = ''] of page.body.matchAll(/(?:src|href)="(dashboard[^"]*)"/g)) {
      const { pathname } = new URL(reference, base)
      t.equal((await app.inject(pathname)).statusCode, 200, pathname)
    }
    const slash = await app.inject(`${prefix}/dashboard/`)
    t.equal(slash.statusCode, 302)
    t.equal(new URL(String(slash.headers.location), `${base}/`).pathname, `${prefix}/dashboard`)
  }
})

t.test('in production the page with its login form is open to everybody', async (t) => {
  const app = await start(t, { production: true })
  for (const url of FILES) t.equal((await app.inject(url)).statusCode, 200, url)
})

t.test('where it is asked for, it needs the administrator in production, its files too', async (t) => {
  const anonymous = await start(t, { production: true, expose: 'development' })
  const disguised = ['/dashboard/', '/dashboard/../dashboard', '/dashboard%2Fdashboard.js', '/%64ashboard']
  for (const url of [...FILES, ...disguised]) {
    const { statusCode } = await anonymous.inject(url)
    t.ok(statusCode === 401 || statusCode === 404, `${url} answers ${statusCode}`)
  }
  for (const url of FILES) t.equal((await anonymous.inject(url)).statusCode, 401, url)
  t.match((await anonymous.inject('/dashboard')).json(), { code: 'STATEFUL_UNAUTHENTICATED' })
  const user = await start(t, { production: true, expose: 'development' }, { id: 'u', role: 'user' })
  t.equal((await user.inject('/dashboard')).statusCode, 403)
  const administrator = await start(t, { production: true, expose: 'development' }, { id: 'a', role: 'administrator' })
  for (const url of FILES) t.equal((await administrator.inject(url)).statusCode, 200, url)
})

t.test('it can be absent', async (t) => {
  const absent = await start(t, { expose: 'never' })
  for (const url of FILES) t.equal((await absent.inject(url)).statusCode, 404)
})

t.test('nothing else is served from its folder', async (t) => {
  const app = await start(t, { production: false })
  for (const url of [
    '/dashboard/../../package.json',
    '/dashboard/..%2f..%2fpackage.json',
    '/dashboard/%2e%2e/package.json',
    '/dashboard/missing.js',
  ]) {
    t.equal((await app.inject(url)).statusCode, 404, url)
  }
})

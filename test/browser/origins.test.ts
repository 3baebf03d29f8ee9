/**
 * Pages of other origins, in a real browser, at the reference server: one whose origin is allowed does everything that the
 * client can, one whose origin is not does nothing.
 */
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'
import type { Page } from 'playwright-core'
import t, { type Test } from 'tap'
import { openBrowser, openPage } from '../fixtures/browser.ts'
import { ADMIN_PASSWORD } from '../fixtures/credentials.ts'
import { startServer } from '../fixtures/server-process.ts'

const source = fileURLToPath(new URL('../../client/index.ts', import.meta.url))
const browser = await openBrowser(t, ['--host-resolver-rules=MAP *.example 127.0.0.1'])
const { outputFiles } = await build({
  stdin: {
    contents: `import { createClient } from ${JSON.stringify(source)}\nglobalThis.createClient = createClient`,
    resolveDir: '/',
  },
  ...{ bundle: true, format: 'iife', write: false },
})

/** Somebody's pages: the client and nothing else; resolves with the port. */
async function servePages(t: Test): Promise<number> {
  const pages = createServer((request, response) => {
    const isScript = request.url === '/client.js'
    response.setHeader('content-type', isScript ? 'text/javascript' : 'text/html; charset=utf-8')
    response.end(isScript ? outputFiles[0]?.contents : '<!doctype html><script src="/client.js"></script>')
  })
  pages.listen(0, '127.0.0.1')
  await once(pages, 'listening')
  t.teardown(() => pages.close())
  return (pages.address() as AddressInfo).port
}

const pages = await servePages(t)
const { url } = await startServer(t, {
  STORAGE: 'memory:',
  LOG_LEVEL: 'silent',
  PREFIX: '/api',
  ALLOWED_ORIGINS: `http://app.shop.example:${pages}`,
})
const api = `http://api.shop.example:${new URL(url).port}/api`

async function visit(t: Test, host: string): Promise<Page> {
  const { page } = await openPage(t, browser)
  await page.goto(`http://${host}:${pages}/`)
  await page.evaluate(`globalThis.client = createClient({ baseUrl: ${JSON.stringify(api)} })`)
  return page
}

/** What the code gives in the page, or that it failed. */
const within = (page: Page, code: string) =>
  page.evaluate(
    `(async () => { try { return await (async () => { ${code} })() } catch (error) { return 'failed: ' + error.message } })()`,
  )

const credentials = JSON.stringify({ username: 'admin', password: ADMIN_PASSWORD })
const login = `const { response } = await client.api.POST('/login', { body: ${credentials} }); return response.status`
const stream = (after = '') => `return new Promise((resolve, reject) => {
  const source = new EventSource(${JSON.stringify(`${api}/sync/events?space=app`)}, { withCredentials: true })
  source.onmessage = ({ data, lastEventId }) => { resolve({ type: JSON.parse(data).type, lastEventId }); source.close() }
  source.onerror = () => { reject(new Error('no stream')); source.close() }
  ${after}
})`

t.test('a page of an allowed origin does everything that the client can', async (t) => {
  const page = await visit(t, 'app.shop.example')
  t.equal(await within(page, login), 200)
  t.match(await within(page, "return (await client.api.GET('/profile')).data"), { user: { username: 'admin' } })

  t.strictSame(
    await within(
      page,
      `const key = { path: { key: 'theme' } }
       const put = (value, header) => client.api.PUT('/state/keys/{key}', { params: { ...key, header }, body: { value } })
       const etag = (await put('dark')).response.headers.get('etag')
       const again = await put('light', { 'if-match': etag })
       const late = await put('late', { 'if-match': etag })
       const { data } = await client.api.GET('/state/keys/{key}', { params: key })
       await client.api.PATCH('/state/keys/{key}', { params: { path: { key: 'user' } }, body: { value: { city: 'Oslo' } } })
       const gone = await client.api.DELETE('/state/keys/{key}', { params: { path: { key: 'user' } } })
       return [typeof etag, again.response.status, late.error.code, data.value, gone.response.status]`,
    ),
    ['string', 200, 'STATEFUL_STATE_PRECONDITION_FAILED', 'light', 204],
    'it reads the entity tag, and sends it back',
  )
  t.match(
    await within(page, "return (await client.api.GET('/state/snapshot')).data"),
    { state: { theme: 'light' } },
    'downloads',
  )
  t.match(
    await within(
      page,
      `const query = { since: 'oldest' }
       const headers = { accept: 'application/x-ndjson' }
       const { data } = await client.api.GET('/state/changes', { params: { query }, headers, parseAs: 'text' })
       return data.split('\\n').filter(Boolean).length`,
    ),
    4,
  )
  t.match(
    await within(
      page,
      `const app = client.replica('app')
       await app.ready()
       await app.increment('likes', 2)
       const presence = client.presence('app')
       presence.update({ name: 'Ada' })
       await new Promise((resolve) => { const look = () => presence.members().some(({ data }) => data) ? resolve() : setTimeout(look, 20); look() })
       return { theme: app.get('theme'), likes: app.get('likes'), members: presence.members().map(({ data }) => data) }`,
    ),
    { theme: 'light', likes: 2, members: [{ name: 'Ada' }] },
    'live',
  )
  t.match(await within(page, stream()), { type: 'fullSync', lastEventId: /^1:.*\.\d+$/ }, 'server-sent events')
  t.match(
    await within(
      page,
      `const body = { clientId: 'client-of-a-page', seq: 1, ops: [{ op: 'increment', key: 'likes' }] }
       return (await client.api.POST('/sync/writes', { body })).data`,
    ),
    { seq: 1 },
  )
  t.match(
    await within(page, "return (await client.api.GET('/sync/nodes')).data.nodes.map(({ transport }) => transport)"),
    ['websocket'],
  )
  t.match(
    await within(
      page,
      `for (let attempt = 0; attempt < 50; attempt++) {
         const { response, error } = await client.api.POST('/login', { body: { username: 'ada', password: 'wrong' } })
         if (response.status === 429) return { code: error.code, after: response.headers.get('retry-after') }
       }`,
    ),
    { code: 'STATEFUL_TOO_MANY_ATTEMPTS', after: /^\d+$/ },
    'it reads refusals, and when to come back',
  )
  t.equal(await within(page, "return (await client.api.POST('/logout')).response.status"), 204)
  t.match(await within(page, "return (await client.api.GET('/profile')).error"), { code: 'STATEFUL_UNAUTHENTICATED' })
})

for (const [what, host] of Object.entries({ 'of the same site': 'other.shop.example', foreign: 'elsewhere.example' })) {
  t.test(`a page of another origin does nothing, ${what}`, async (t) => {
    const page = await visit(t, host)
    // Somebody is logged in in this browser, by the page that may.
    const home = await page.context().newPage()
    await home.goto(`http://app.shop.example:${pages}/`)
    await home.evaluate(`globalThis.client = createClient({ baseUrl: ${JSON.stringify(api)} })`)
    t.equal(await within(home, login), 200)
    t.equal(
      await within(
        home,
        "await client.api.PUT('/state/keys/{key}', { params: { path: { key: 'safe' } }, body: { value: 1 } }); return 1",
      ),
      1,
    )

    t.match(await within(page, login), /^failed/)
    t.match(await within(page, "return (await client.api.GET('/profile')).data"), /^failed/)
    t.match(await within(page, "return (await client.api.GET('/state/snapshot')).data"), /^failed/)
    t.match(
      await within(
        page,
        "return (await client.api.DELETE('/state/keys/{key}', { params: { path: { key: 'safe' } } })).response.status",
      ),
      /^failed/,
    )
    t.match(await within(page, stream()), /^failed/)
    const simple = `const init = { method: 'POST', mode: 'no-cors', credentials: 'include' }
      return (await fetch(${JSON.stringify(`${api}/logout`)}, init)).type`
    t.match(await within(page, simple), /^failed/, 'nor by a request that asks nobody first')
    t.match(
      await within(
        page,
        `const app = client.replica('app')
         const write = app.set('safe', 2).then(() => 'written', (error) => error.code)
         return Promise.race([write, new Promise((resolve) => setTimeout(resolve, 1_000, app.status))])`,
      ),
      /^(offline|connecting|closed|refused|STATEFUL_FOREIGN_ORIGIN|STATEFUL_CLOSED)$/,
    )
    t.match(
      await within(
        home,
        "return (await client.api.GET('/state/keys/{key}', { params: { path: { key: 'safe' } } })).data",
      ),
      { value: 1 },
      'and the session is still there',
    )
  })
}

/** The console in a real browser, on the app as in production. Its files are those of `npm run build`. */
import { randomBytes } from 'node:crypto'
import axe from 'axe-core'
import type { FastifyInstance } from 'fastify'
import type { Page } from 'playwright-core'
import t, { type Test } from 'tap'
import { ManualClock } from '../../plugins/support/manual-clock.ts'
import { ADMIN_PASSWORD, testApp } from '../fixtures/app.ts'
import { openBrowser } from '../fixtures/browser.ts'
import { eventually } from '../fixtures/eventually.ts'
import { SyncPeer } from '../fixtures/sync-peer.ts'

const VIEWS = {
  overview: 'Overview',
  sessions: 'Sessions',
  users: 'Users',
  state: 'State',
  cache: 'Cache',
  sync: 'Sync',
  audit: 'Audit',
  contract: 'Contract',
} as const
/** Where each view shows most. */
const PLACES = [
  '#/overview?range=15m',
  '#/sessions?user=grace',
  '#/users',
  '#/state?key=settings',
  '#/cache?namespace=users&pattern=user:*&key=user:1&writer=orders',
  '#/sync',
  '#/audit',
  '#/contract',
]
const WIDTHS = [320, 1_280, 3_840]

t.setTimeout(180_000)

const browser = await openBrowser(t)

interface Site {
  app: FastifyInstance
  /** What the write-behind handler `orders` writes to. */
  database: { takes: boolean }
  url: string
  /** Opens the console for a visitor of its own; whatever goes to the browser's console fails the test. */
  visit(options?: { theme?: 'light' | 'dark'; width?: number }): Promise<Page>
  login(page: Page, username: string): Promise<void>
}

async function setUp(t: Test): Promise<Site> {
  const clock = new ManualClock(Date.now() - 600_000)
  const app = await testApp(t, {
    production: true,
    secret: randomBytes(32).toString('base64url'),
    stats: { clock },
    cache: { writeBehind: { delay: 1, attempts: 1 } },
  })
  for (const [id, role] of [
    ['grace', 'user'],
    ['olga', 'observer'],
  ] as const) {
    await app.accounts.create({ id, username: id, password: ADMIN_PASSWORD, role })
  }
  await app.sessions.create('grace', {})
  await app.state.set('settings', { theme: 'dark', limits: { rows: 50 } })
  await app.state.set('counter', 7)
  const users = app.cache.namespace('users')
  for (let i = 0; i < 3; i++) await users.set(`user:${i}`, { name: `User ${i}` }, { ttl: '1h', tags: ['users'] })
  await users.get('user:1')
  const database = { takes: false }
  app.cache.writeBehind('orders', () => {
    if (!database.takes) throw new Error('the price is negative')
  })
  await app.cache.setWithDelayedPersist('order:1', { price: -1 }, { writer: 'orders' })
  await eventually(() => app.cache.stats().writeBehind.dead === 1)
  // Ten minutes that the history knows.
  for (let tick = 0; tick < 60; tick++) {
    await app.inject('/health/live')
    if (tick % 3 === 0) await users.get(`user:${tick}`)
    else await users.get('user:1')
    clock.advance(10_000)
    await new Promise(setImmediate)
  }
  const url = await app.listen({ host: 'localhost', port: 0 })
  return {
    app,
    database,
    url,
    async visit({ theme = 'light', width = 1_280 } = {}) {
      const context = await browser.newContext({ colorScheme: theme, viewport: { width, height: 900 } })
      t.teardown(() => context.close())
      const page = await context.newPage()
      page.setDefaultTimeout(10_000)
      page.on('pageerror', (error) => t.fail(error.message))
      page.on('console', (message) => {
        // The browser itself tells of each answer above 399; those that a test provokes it asks for by `refused`.
        if (message.type() === 'error' && !/status of (401|403|412)/.test(message.text())) t.fail(message.text())
      })
      await page.goto(url.replace(/127\.0\.0\.1|\[::1\]/, 'localhost').concat('/dashboard'))
      return page
    },
    async login(page, username) {
      await page.getByLabel('Username').fill(username)
      await page.getByLabel('Password').fill(ADMIN_PASSWORD)
      await page.getByRole('button', { name: 'Log in' }).click()
      await page.getByRole('heading', { level: 1, name: 'Overview' }).waitFor()
    },
  }
}

const open = async (page: Page, place: string) => {
  await page.evaluate((hash) => {
    location.hash = hash
  }, place)
  const view = /^#\/(\w+)/.exec(place)?.[1] as keyof typeof VIEWS
  await page.getByRole('heading', { level: 1, name: VIEWS[view] }).waitFor()
  await page.waitForFunction(() => !document.body.textContent?.includes('Waiting for the server'))
}

/** What axe finds. */
async function violations(page: Page): Promise<string[]> {
  await page.evaluate(axe.source)
  return page.evaluate(async () => {
    const { axe } = globalThis as unknown as {
      axe: { run(): Promise<{ violations: { id: string; nodes: { html: string }[] }[] }> }
    }
    const found = (await axe.run()).violations
    return found.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html.slice(0, 120)).join(' | ')}`)
  })
}

const widthBeyond = (page: Page) =>
  page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth)

const answer = async (page: Page, button: string) => {
  const dialog = page.getByRole('dialog')
  await dialog.waitFor()
  await dialog.getByRole('button', { name: button }).click()
}

t.test('every view, in both themes, from 320 px to 4k: nothing sticks out, axe finds nothing', async (t) => {
  const { login, visit } = await setUp(t)
  const folder = process.env['SCREENSHOTS']
  for (const theme of ['light', 'dark'] as const) {
    const page = await visit({ theme })
    t.same(await violations(page), [], `login, ${theme}`)
    await login(page, 'admin')
    for (const place of PLACES) {
      for (const width of WIDTHS) {
        await page.setViewportSize({ width, height: 900 })
        await open(page, place)
        t.ok((await widthBeyond(page)) <= 0, `${place} at ${width} px`)
        if (folder) await page.screenshot({ path: `${folder}/${place.split(/[/?]/)[1]}-${theme}-${width}.png` })
        if (width !== 3_840) t.same(await violations(page), [], `${place}, ${theme}, ${width} px`)
      }
    }
  }
})

t.test('the theme can be chosen, and stays', async (t) => {
  const { login, visit } = await setUp(t)
  const page = await visit()
  await login(page, 'admin')
  await page.getByLabel('Theme').selectOption('dark')
  const ground = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor)
  const dark = await ground()
  await page.reload()
  await page.getByRole('heading', { level: 1, name: 'Overview' }).waitFor()
  t.equal(await ground(), dark)
  await page.getByLabel('Theme').selectOption('system')
  t.not(await ground(), dark)
})

t.test(
  'what an administrator does happens, after a question, and a second window sees it within a second',
  async (t) => {
    const { app, login, visit } = await setUp(t)
    const page = await visit()
    await login(page, 'admin')
    const other = await visit()
    await login(other, 'olga')

    await open(page, '#/sessions?user=grace')
    await open(other, '#/sessions?user=grace')
    await other.getByRole('row', { name: /unknown/ }).waitFor()
    await page.getByRole('button', { name: 'End', exact: true }).click()
    await answer(page, 'Cancel')
    t.equal((await app.sessions.list('grace')).length, 1, 'not without a yes')
    await page.getByRole('button', { name: 'End', exact: true }).click()
    await answer(page, 'End session')
    await page.getByText('The session is ended.').waitFor()
    const ended = Date.now()
    await other.getByText('Nobody is logged in as this user.').waitFor()
    t.ok(Date.now() - ended < 2_000, 'a second, and what a busy machine takes')
    t.same(await app.sessions.list('grace'), [])

    await open(page, '#/cache?namespace=users&pattern=user:*')
    await page.getByRole('row', { name: /^user:2/ }).waitFor()
    await page.getByLabel('Name', { exact: true }).fill('user:2')
    await page.getByRole('button', { name: 'Invalidate', exact: true }).click()
    await answer(page, 'Invalidate')
    await page.getByText('Entries that are invalidated: 1.').waitFor()
    t.equal(await app.cache.namespace('users').get('user:2'), undefined)

    await open(page, '#/users')
    await page.getByLabel('Name', { exact: true }).fill('ada')
    await page.getByLabel('Password').fill(ADMIN_PASSWORD)
    await page.getByRole('button', { name: 'Create' }).click()
    await page.getByText('ada is created.').waitFor()
    await page.getByRole('row', { name: /^ada/ }).getByRole('button', { name: 'Disable' }).click()
    await answer(page, 'Disable')
    await page.getByText('ada is disabled.').waitFor()
    const { users } = await app.accounts.list({ prefix: 'ada' })
    t.match(users, [{ username: 'ada', role: 'user', disabled: true }])
    await page.getByLabel('Role of ada').selectOption('observer')
    await answer(page, 'Change role')
    await page.getByText('ada is an observer now.').waitFor()

    await open(page, '#/audit')
    for (const action of ['sessions:revoke', 'cache:invalidate', 'users:administer']) {
      await page
        .getByRole('row', { name: new RegExp(action) })
        .first()
        .waitFor()
    }
  },
)

t.test('values are live, edits are saved, and one that comes too late shows both', async (t) => {
  const { app, login, visit } = await setUp(t)
  const page = await visit()
  await login(page, 'admin')
  await open(page, '#/state?key=counter')
  await page.getByRole('row', { name: 'counter 7' }).waitFor()
  await app.state.set('counter', 8)
  await page.getByRole('row', { name: 'counter 8' }).waitFor()
  const editor = page.getByLabel('Value as JSON')
  await page.waitForFunction(() => document.querySelector('textarea')?.value === '8')
  await editor.fill('9')
  await page.getByRole('button', { name: 'Save' }).click()
  await page.getByText(/Saved as revision/).waitFor()
  t.equal(await app.state.read('counter'), 9)

  await editor.fill('10')
  await app.state.set('counter', 100)
  const conflict = page.locator('.conflict')
  await conflict.getByText('100').waitFor()
  await page.getByRole('button', { name: 'Save' }).click()
  await page.getByText('Somebody else has changed it meanwhile').waitFor()
  t.equal(await app.state.read('counter'), 100, 'nothing was overwritten')
  await page.getByRole('button', { name: 'Go on with mine' }).click()
  await page.getByRole('button', { name: 'Save' }).click()
  await page.getByText(/Saved as revision/).waitFor()
  t.equal(await app.state.read('counter'), 10)
  await page.getByRole('row', { name: /set 100/ }).waitFor()

  await editor.fill('{')
  await page.getByRole('button', { name: 'Save' }).click()
  await page.getByText(/This is no JSON/).waitFor()
})

t.test('a reload, and a second person, see the same history', async (t) => {
  const { login, visit } = await setUp(t)
  const page = await visit()
  await login(page, 'admin')
  const tile = (page: Page) => page.locator('.tiles div', { hasText: 'Misses' }).locator('dd').textContent()
  await page.waitForFunction(() => document.querySelector('.tiles dd')?.textContent !== '–')
  const misses = await tile(page)
  t.match(misses, /^\d+(\.\d)? %$/)
  await page.reload()
  const other = await visit()
  await login(other, 'olga')
  for (const one of [page, other]) {
    await one.waitForFunction(() => document.querySelector('.tiles dd')?.textContent !== '–')
    t.equal(await tile(one), misses)
  }
})

t.test('dead letters are retried, and connections ended', async (t) => {
  const { app, database, login, url, visit } = await setUp(t)
  const page = await visit()
  await login(page, 'admin')
  await open(page, '#/cache?writer=orders')
  await page.getByRole('row', { name: /order:1.*the price is negative/ }).waitFor()
  database.takes = true
  await page.getByRole('button', { name: 'Retry', exact: true }).click()
  await answer(page, 'Retry')
  await page.getByText('Nothing was refused for good.').waitFor()
  await eventually(() => app.cache.stats().writeBehind.written === 1)

  const cookie = await app.sessionActions.issue({ id: 'grace', username: 'grace', role: 'user' })
  const { port } = new URL(url)
  const peer = await SyncPeer.connect(t, `ws://localhost:${port}/sync?space=app`, { headers: { cookie } })
  await open(page, '#/sync')
  const row = page.getByRole('row', { name: /^grace/ }).first()
  await row.getByRole('button', { name: 'Disconnect' }).click()
  const closed = new Promise((resolve) => peer.socket.once('close', resolve))
  await answer(page, 'Disconnect')
  t.equal(await closed, 1001)
  await page.getByText('The connection is ended.').waitFor()
})

t.test('an observer sees the same and no action, and the server refuses one all the same', async (t) => {
  const { app, login, visit } = await setUp(t)
  const page = await visit()
  await login(page, 'olga')
  for (const place of PLACES) {
    await open(page, place)
    const buttons = await page.locator('main').getByRole('button').allTextContents()
    t.same(
      buttons.filter((text) => text !== 'Search'),
      [],
      place,
    )
    t.equal(await page.locator('main textarea').count(), 0, place)
    t.equal(await page.locator('main [role=alert]').count(), 0, `${place} shows all that it asks for`)
  }
  await open(page, '#/state?key=counter')
  await page.getByRole('row', { name: 'counter 7' }).waitFor()
  const statuses = await page.evaluate(async () => {
    const ask = async (method: string, path: string, body?: object) => {
      const json = body ? { headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) } : {}
      return (await fetch(path, { method, ...json })).status
    }
    return [
      await ask('POST', 'stats/reset'),
      await ask('DELETE', 'sessions?userId=grace'),
      await ask('PUT', 'state/keys/counter', { value: 1 }),
      await ask('POST', 'cache/clear'),
      await ask('PATCH', 'users/grace', { disabled: true }),
      await ask('DELETE', 'sync/nodes/any'),
    ]
  })
  t.same(statuses, [403, 403, 403, 403, 403, 403])
  t.equal(await app.state.read('counter'), 7)
})

t.test('a session that ends leads back to the login, and another user gets nothing of it', async (t) => {
  const { app, login, visit } = await setUp(t)
  const page = await visit()
  await login(page, 'admin')
  const { users } = await app.accounts.list({ prefix: 'admin' })
  await app.sessions.revokeUser(users[0]?.id ?? '')
  await page.getByLabel('Username').waitFor()
  await login(page, 'olga')
  await page.getByText('olga (observer)').waitFor()
  await page.getByRole('button', { name: 'Log out' }).click()
  await page.getByLabel('Username').waitFor()
  await eventually(async () => (await app.sessions.list('olga')).length === 0)
})

/** The console in a real browser, on the app as in production. Its files are those of `npm run build`. */
import { randomBytes } from 'node:crypto'
import axe from 'axe-core'
import type { FastifyInstance } from 'fastify'
import type { Browser, Page } from 'playwright-core'
import type { Test } from 'tap'
import { ManualClock } from '../../plugins/support/manual-clock.ts'
import { ADMIN_PASSWORD, testApp } from '../fixtures/app.ts'
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

export interface Site {
  app: FastifyInstance
  /** Of the statistics, whose history has ten minutes when it begins. */
  clock: ManualClock
  /** What the write-behind handler `orders` writes to. */
  database: { takes: boolean }
  url: string
  /** Opens the console for a visitor of its own; whatever goes to the browser's console fails the test. */
  visit(options?: { theme?: 'light' | 'dark'; width?: number }): Promise<Page>
  login(page: Page, username: string): Promise<void>
}

/** The app as in production, with something to see in each view. */
export async function setUp(t: Test, browser: Browser): Promise<Site> {
  const clock = new ManualClock(Date.now() - 600_000)
  const app = await testApp(t, {
    production: true,
    secret: randomBytes(32).toString('base64url'),
    stats: { clock },
    // The browser and the tests keep the same machine busy.
    pressure: { maxEventLoopDelay: 0 },
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
    clock,
    database,
    url,
    async visit({ theme = 'light', width = 1_280 } = {}) {
      const context = await browser.newContext({ colorScheme: theme, viewport: { width, height: 900 } })
      t.teardown(() => context.close())
      const page = await context.newPage()
      page.setDefaultTimeout(10_000)
      page.on('pageerror', (error) => t.fail(error.message))
      page.on('console', (message) => {
        // The browser itself tells of each answer above 399: of those that tests provoke, of a key that goes away, and
        // of an instance that is not ready.
        const told = message.text()
        const { url } = message.location()
        const isGone = /status of 404/.test(told) && url.includes('/state/keys/')
        const isUnready = /status of 503/.test(told) && url.includes('/health/ready')
        if (message.type() === 'error' && !isGone && !isUnready && !/status of (401|403|404|409|412|422)/.test(told))
          t.fail(told)
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

/**
 * Until the end of the test something happens in every view all the time: requests, well and refused, writes, loads,
 * sessions that come and go, a connection that is sent each change.
 */
export async function keepBusy(t: Test, { app, url }: Site): Promise<void> {
  const cookie = await app.sessionActions.issue({ id: 'busy', username: 'busy', role: 'user' })
  const address = `ws://localhost:${new URL(url).port}/sync?space=app`
  await SyncPeer.connect(t, address, { headers: { cookie } })
  let over = false
  const work = (async () => {
    for (let n = 0; !over; n++) {
      await app.inject({ url: n % 3 === 0 ? '/nothing-here' : '/health/live' })
      await app.state.increment('busy')
      await app.cache.namespace('users').getOrSet(`busy:${n % 200}`, async () => ({ n }), { ttl: '2s', tags: ['busy'] })
      if (n % 10 === 0) await app.sessions.create('grace', {})
      if (n % 20 === 0) await app.sessions.revokeUser('grace')
      await new Promise((resolve) => setTimeout(resolve, 10))
    }
  })()
  t.teardown(async () => {
    over = true
    await work
  })
}

/** Goes to a place of the console, and waits until it shows what the server tells. */
export const open = async (page: Page, place: string) => {
  await page.evaluate((hash) => {
    location.hash = hash
  }, place)
  const view = /^#\/(\w+)/.exec(place)?.[1] as keyof typeof VIEWS
  await page.getByRole('heading', { level: 1, name: VIEWS[view] }).waitFor()
  await page.waitForFunction(() => !document.body.textContent?.includes('Waiting for the server'))
}

/** What axe finds. */
export async function violations(page: Page): Promise<string[]> {
  await page.evaluate(axe.source)
  return page.evaluate(async () => {
    const { axe } = globalThis as unknown as {
      axe: { run(): Promise<{ violations: { id: string; nodes: { html: string }[] }[] }> }
    }
    const found = (await axe.run()).violations
    return found.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html.slice(0, 120)).join(' | ')}`)
  })
}

/** By how many pixels the page is wider than the window. */
export const widthBeyond = (page: Page) =>
  page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth)

/** Presses a button of the dialog. */
export const answer = async (page: Page, button: string) => {
  const dialog = page.getByRole('dialog')
  await dialog.waitFor()
  await dialog.getByRole('button', { name: button }).click()
}

const WIDTHS = [320, 1_024, 3_840]

/**
 * At each width nothing sticks out, and in this theme axe finds nothing. Where `SCREENSHOTS` names a folder, it gets
 * the pictures.
 */
export async function looksRight(t: Test, page: Page, place: string, theme: string, name: string): Promise<void> {
  const folder = process.env['SCREENSHOTS']
  for (const width of WIDTHS) {
    await page.setViewportSize({ width, height: 900 })
    await open(page, place)
    t.ok((await widthBeyond(page)) <= 0, `${place} at ${width} px`)
    if (folder) await page.screenshot({ path: `${folder}/${name}-${theme}-${width}.png`, fullPage: true })
  }
  // Its rules do not depend on the width, and it takes longer than all the rest.
  t.same(await violations(page), [], `${place}, ${theme}`)
}

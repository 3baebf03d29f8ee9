/**
 * `npm run screenshots -- [--out docs/images] [--theme light|dark] [--width 1200]`: pictures of every view of the console, as
 * docs/console.md shows them. The server runs in this process, with an hour of its history made by load in some
 * seconds.
 */
import { randomBytes } from 'node:crypto'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { chromium } from 'playwright-core'
import { WebSocket } from 'ws'
import { build } from '../app.ts'
import { ManualClock } from '../plugins/support/manual-clock.ts'
import { findChromium } from './chromium.mjs'

const VIEWS = {
  overview: '#/overview?range=1h',
  sessions: '#/sessions?user=grace&name=grace',
  users: '#/users',
  state: '#/state?key=settings',
  cache: '#/cache?namespace=products&pattern=product:*&key=product:3&writer=orders',
  sync: '#/sync?trace=space',
  audit: '#/audit',
  contract: '#/contract',
}
/** A picture is as high as its view, up to this, in pixels. */
const MAX_HEIGHT = 1_200
const MAX_BYTES = 60_000
/**
 * How a picture is made smaller, the best first. Fewer shades of each colour do little harm to text and flat areas,
 * which then are small without loss (`quality: 1`).
 */
const ATTEMPTS = [
  { step: 8, quality: 1 },
  { step: 1, quality: 0.9 },
  { step: 1, quality: 0.8 },
  { step: 1, quality: 0.6 },
  { step: 1, quality: 0.4 },
  { step: 1, quality: 0.2 },
]
const PASSWORD = 'correct horse battery staple'
const DEVICES = [
  'Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36',
  'Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 Version/18.6 Mobile/15E148 Safari/604.1',
  'Mozilla/5.0 (Macintosh; Intel Mac OS X 14.5; rv:144.0) Gecko/20100101 Firefox/144.0',
]

const { values } = parseArgs({
  options: {
    out: { type: 'string', default: 'docs/images' },
    theme: { type: 'string', default: 'light' },
    width: { type: 'string', default: '1200' },
  },
})
const width = Number(values.width)
const theme = values.theme === 'dark' ? 'dark' : 'light'

const folder = await mkdtemp(join(tmpdir(), 'screenshots-'))
const clock = new ManualClock(Date.now() - 3_600_000)
const app = await build({
  storage: `lmdb:${folder}`,
  secret: randomBytes(32).toString('base64url'),
  adminPassword: PASSWORD,
  production: true,
  stats: { clock },
  cache: { writeBehind: { delay: 1, attempts: 1 } },
  logger: false,
})
const browser = await chromium.launch({ executablePath: findChromium(), args: ['--no-sandbox', '--disable-lcd-text'] })
const sockets = []
let writing
try {
  await app.ready()
  await fill()
  await load()
  const url = await app.listen({ host: 'localhost', port: 0 })
  await connect(url)
  writing = setInterval(() => app.state.set('counter', Math.round(Math.random() * 1_000)).catch(() => {}), 300)
  await mkdir(values.out, { recursive: true })
  await photograph(url)
} finally {
  clearInterval(writing)
  for (const socket of sockets) socket.terminate()
  await browser.close()
  await app.close()
  await rm(folder, { recursive: true, force: true })
}

/** Accounts with devices, state, entries, a refused write, and what an administrator has done. */
async function fill() {
  for (const [username, role, displayName] of [
    ['grace', 'user', 'Grace Hopper'],
    ['ada', 'user', 'Ada Lovelace'],
    ['linus', 'user'],
    ['olga', 'observer', 'Olga from support'],
  ]) {
    await app.accounts.create({
      id: username,
      username,
      password: PASSWORD,
      role,
      ...(displayName ? { displayName } : {}),
    })
  }
  for (const agent of DEVICES) await login('grace', agent)
  await login('ada', DEVICES[0])
  for (const value of [
    { theme: 'light', limits: { rows: 25 } },
    { theme: 'dark', limits: { rows: 25 } },
    { theme: 'dark', limits: { rows: 50 } },
  ]) {
    await app.state.set('settings', value)
  }
  await app.state.set('counter', 7)
  await app.state.set('banner', 'Maintenance on Sunday at 10:00')
  for (const name of ['todo', 'doing', 'done']) await app.state.space('board').set(`column:${name}`, { cards: [] })
  app.cache.writeBehind('orders', () => {
    throw new Error('the price is negative')
  })
  for (const n of [17, 18]) await app.cache.setWithDelayedPersist(`order:${n}`, { price: -n }, { writer: 'orders' })

  const cookie = await login('admin', DEVICES[0])
  const admin = (method, url, payload) => app.inject({ method, url, payload, headers: { cookie } })
  await admin('PATCH', '/users/linus', { disabled: true })
  await admin('PUT', '/state/keys/banner', { value: 'Maintenance on Sunday at 11:00' })
  await admin('POST', '/cache/invalidate?namespace=products', { tags: ['prices'] })
  await admin('DELETE', '/sessions?userId=ada')
}

async function login(username, agent) {
  const payload = { username, password: PASSWORD }
  const { cookies } = await app.inject({ method: 'POST', url: '/login', payload, headers: { 'user-agent': agent } })
  return `${cookies[0].name}=${encodeURIComponent(cookies[0].value)}`
}

/** An hour as the history knows it: more at its end than at its beginning, with some errors and slow loaders. */
async function load() {
  const products = app.cache.namespace('products')
  const users = app.cache.namespace('users')
  const slowly = (ms, value) => () => delay(ms, value)
  for (let tick = 0; tick < 360; tick++) {
    const wave = 2 + Math.round(2 * Math.sin(tick / 20) + tick / 90)
    const work = []
    for (let n = 0; n < wave; n++) {
      work.push(app.inject('/health/live'), app.inject('/profile'))
      work.push(
        products.getOrSet(`product:${(tick * n) % 40}`, slowly(4, { name: 'Lamp', price: 42 }), {
          ttl: '1h',
          tags: ['prices'],
        }),
      )
      work.push(users.getOrSet(`user:${n}`, slowly(2, { name: `User ${n}` }), { ttl: '1h' }))
    }
    if (tick % 9 === 0) work.push(app.inject(`/no/such/page/${tick}`))
    if (tick % 40 === 0) work.push(app.cache.getOrSet(`report:${tick}`, slowly(90, { rows: 1_200 }), { ttl: '1h' }))
    if (tick % 5 === 0) work.push(app.state.set('counter', tick))
    await Promise.all(work)
    clock.advance(10_000)
    // A transaction waits for the disk, and a sample that is not written yet is not followed by the next.
    await delay(30)
  }
}

/** Followers of the space, one of them seen there. */
async function connect(url) {
  for (const [user, data] of [['grace', { cursor: 12 }], ['ada'], ['linus']]) {
    const cookie = await app.sessionActions.issue({ id: user, username: user, role: 'user' })
    const socket = new WebSocket(
      `${url.replace('http', 'ws').replace(/127\.0\.0\.1|\[::1\]/, 'localhost')}/sync?space=app`,
      { headers: { cookie } },
    )
    sockets.push(socket)
    await new Promise((resolve, reject) => socket.once('open', resolve).once('error', reject))
    if (data) socket.send(JSON.stringify({ type: 'presence', space: 'app', data }))
  }
}

/**
 * A machine that makes load and pictures at the same time is overloaded now and then, and the server refuses requests.
 */
async function visit(page, url) {
  for (let second = 0; app.isUnderPressure() && second < 60; second++) await delay(1_000)
  await page.goto(url)
}

async function photograph(url) {
  const site = url.replace(/127\.0\.0\.1|\[::1\]/, 'localhost')
  const context = await browser.newContext({ colorScheme: theme, viewport: { width, height: 900 } })
  const page = await context.newPage()
  await visit(page, `${site}/dashboard`)
  await page.getByLabel('Username').fill('admin')
  await page.getByLabel('Password').fill(PASSWORD)
  await page.getByRole('button', { name: 'Log in' }).click()
  await page.locator('main h1').waitFor()
  const darkroom = await browser.newPage()
  for (const [view, place] of Object.entries(VIEWS)) {
    // A page of its own each: nothing of the view before is left.
    await page.goto('about:blank')
    await visit(page, `${site}/dashboard${place}`)
    await page.locator('main h1').waitFor()
    await page.waitForFunction(() => !document.body.textContent?.includes('Waiting for the server'))
    // The first answers, and some messages of the trace.
    await delay(2_500)
    // Without the empty rest of a window that is higher than the view.
    const height = await page.evaluate(() => Math.ceil(document.body.getBoundingClientRect().height))
    const clip = { x: 0, y: 0, width, height: Math.min(height, MAX_HEIGHT) }
    const png = await page.screenshot({ fullPage: true, clip, animations: 'disabled' })
    const picture = await developed(darkroom, png)
    const file = join(values.out, `console-${view}.webp`)
    await writeFile(file, picture)
    process.stdout.write(`${file} ${picture.length} bytes\n`)
  }
}

/** As WebP, as good as it may be without being too large: the browser has an encoder. */
async function developed(darkroom, png) {
  for (const attempt of ATTEMPTS) {
    const base64 = await darkroom.evaluate(
      async ({ data, step, quality }) => {
        const bytes = Uint8Array.from(atob(data), (character) => character.charCodeAt(0))
        const image = await createImageBitmap(new Blob([bytes], { type: 'image/png' }))
        const canvas = document.createElement('canvas')
        canvas.width = image.width
        canvas.height = image.height
        const context = canvas.getContext('2d')
        context.drawImage(image, 0, 0)
        const pixels = context.getImageData(0, 0, image.width, image.height)
        // Each fourth byte is the opacity.
        pixels.data.forEach((shade, i) => {
          if (i % 4 !== 3) pixels.data[i] = Math.min(255, Math.round(shade / step) * step)
        })
        context.putImageData(pixels, 0, 0)
        return canvas.toDataURL('image/webp', quality).split(',')[1]
      },
      { data: png.toString('base64'), ...attempt },
    )
    const picture = Buffer.from(base64, 'base64')
    if (picture.length <= MAX_BYTES) return picture
  }
  throw new Error(`no picture of at most ${MAX_BYTES} bytes`)
}

/** The console in a real browser, on the app as in production. Its files are those of `npm run build`. */
import type { Page } from 'playwright-core'
import t from 'tap'
import { ADMIN_PASSWORD } from '../fixtures/app.ts'
import { openBrowser } from '../fixtures/browser.ts'
import { eventually } from '../fixtures/eventually.ts'
import { SyncPeer } from '../fixtures/sync-peer.ts'
import { answer, keepBusy, looksRight, open, setUp, violations } from './console-page.ts'

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

t.setTimeout(180_000)

const browser = await openBrowser(t)

t.test('every view under load, in both themes, from 320 px to 4k: nothing sticks out, axe finds nothing', async (t) => {
  const site = await setUp(t, browser)
  const { login, visit } = site
  await keepBusy(t, site)
  for (const theme of ['light', 'dark'] as const) {
    const page = await visit({ theme })
    t.same(await violations(page), [], `login, ${theme}`)
    await login(page, 'admin')
    for (const place of PLACES) await looksRight(t, page, place, theme, place.split(/[/?]/)[1] as string)
  }
})

t.test('the theme can be chosen, and stays', async (t) => {
  const { login, visit } = await setUp(t, browser)
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

t.test('what an administrator does happens, after a question, and a second window sees it', async (t) => {
  const { app, login, visit } = await setUp(t, browser)
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
  // How soon is measured in overview.test.ts.
  await other.getByText('Nobody is logged in as this user.').waitFor()
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
})

t.test('values are live, edits are saved, and one that comes too late shows both', async (t) => {
  const { app, login, visit } = await setUp(t, browser)
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
  await page
    .getByRole('row', { name: /\+ 100/ })
    .first()
    .waitFor()

  await editor.fill('{')
  await page.getByRole('button', { name: 'Save' }).click()
  await page.getByText(/This is no JSON/).waitFor()
})

t.test('a reload, and a second person, see the same history', async (t) => {
  const { login, visit } = await setUp(t, browser)
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
  const { app, database, login, url, visit } = await setUp(t, browser)
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
  const { app, login, visit } = await setUp(t, browser)
  const page = await visit()
  await login(page, 'olga')
  for (const place of PLACES) {
    await open(page, place)
    const buttons = await page.locator('main').getByRole('button').allTextContents()
    t.same(
      buttons.filter((text) => !text.startsWith('Search')),
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
  const { app, login, visit } = await setUp(t, browser)
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

/** The view of the cache, in a real browser. */
import t from 'tap'
import { ADMIN_PASSWORD } from '../fixtures/app.ts'
import { openBrowser } from '../fixtures/browser.ts'
import { eventually } from '../fixtures/eventually.ts'
import { answer, looksRight, open, setUp } from './console-page.ts'

t.setTimeout(180_000)

const browser = await openBrowser(t)

t.test('keys are warmed by the loaders of the application', async (t) => {
  const { app, login, visit } = await setUp(t, browser)
  const users = app.cache.namespace('users')
  users.warmFrom('user:*', ({ key }) => ({ name: `loaded ${key}` }), { ttl: '1h' })
  const page = await visit()
  await login(page, 'admin')
  await open(page, '#/cache?namespace=users&pattern=user:9*')
  await page.getByText('No key matches.').waitFor()
  await page.getByLabel('Keys, one a line').fill('user:98\nuser:99\nnothing')
  await page.getByRole('button', { name: 'Warm these' }).click()
  await page.getByText('In the first level now: 2; found nowhere: 1; failed: 0.').waitFor()
  t.same(users.peek('user:99'), { name: 'loaded user:99' })
  await page.getByRole('row', { name: /^user:99 .* first/ }).waitFor()

  await app.cache.namespace('hot-keys').delete('users')
  await open(page, '#/cache?namespace=default')
  await page.getByRole('button', { name: 'Warm what was hot' }).click()
  await page.getByText('No hot keys have been written down yet.').waitFor()
  await app.cache.namespace('hot-keys').set('default', ['page:1'])
  app.cache.warmFrom('page:*', ({ key }) => key)
  await page.getByRole('button', { name: 'Warm what was hot' }).click()
  await page.getByText('In the first level now: 1; found nowhere: 0; failed: 0.').waitFor()
  t.equal(app.cache.peek('page:1'), 'page:1')
  await open(page, '#/audit')
  await page
    .getByRole('row', { name: /cache:warm/ })
    .first()
    .waitFor()
})

t.test('what waits to be written is listed until it is', async (t) => {
  const { app, login, visit } = await setUp(t, browser)
  let goes = false
  app.cache.writeBehind('mail', async (_writes, { signal }) => {
    while (!goes && !signal.aborted) await new Promise((resolve) => setTimeout(resolve, 5))
  })
  await app.cache.namespace('users').setWithDelayedPersist('user:1', { name: 'Ada' }, { writer: 'mail' })
  for (let n = 0; n < 60; n++) await app.cache.setWithDelayedPersist(`mail:${n}`, n, { writer: 'mail' })
  const page = await visit()
  await login(page, 'admin')
  await open(page, '#/cache?writer=mail')
  await page.getByText('The first 50 that wait for mail').waitFor()
  const [first] = await app.cache.writers.waiting('mail')
  t.equal(first?.key, 'user:1')
  await page.getByRole('row', { name: new RegExp(`^user:1 users ${first?.id} .* ago 0$`) }).waitFor()
  await page.getByRole('row', { name: /^mail 61 / }).waitFor()
  goes = true
  await page.getByText('Nothing waits.').waitFor()
  await eventually(() => app.cache.stats().writeBehind.pending === 0)
})

t.test('who may not is shown no action', async (t) => {
  const { app, login, visit } = await setUp(t, browser)
  await app.accounts.create({ id: 'mel', username: 'mel', password: ADMIN_PASSWORD, role: 'user' })
  const page = await visit()
  await login(page, 'mel')
  await open(page, '#/cache?namespace=users&key=user:1')
  await page.getByText('"name": "User 1"').waitFor()
  const buttons = await page.locator('main').getByRole('button').allTextContents()
  t.same(buttons, ['Search'], 'a user reads an entry, and changes none')
})

t.test('in use while thousands of entries are there and others write all the time', async (t) => {
  const { app, login, visit } = await setUp(t, browser)
  const items = app.cache.namespace('items')
  for (let i = 0; i < 3_000; i += 500) {
    const entries = Array.from(
      { length: 500 },
      (_, n) => [`item:${`${i + n}`.padStart(4, '0')}`, { n: i + n }] as const,
    )
    await items.setMany(entries, { ttl: '1h', tags: ['items', `page-${i}`] })
  }
  app.cache.writeBehind('slow', () => new Promise((resolve) => setTimeout(resolve, 20)))
  let writing = true
  let written = 0
  const writer = (async () => {
    while (writing) {
      const key = `item:${`${++written % 3_000}`.padStart(4, '0')}`
      await items.setWithDelayedPersist(key, { n: written }, { writer: 'slow' })
      await items.get('item:0001')
      if (written % 10 === 0) await new Promise((resolve) => setTimeout(resolve, 5))
    }
  })()
  t.teardown(async () => {
    writing = false
    await writer
  })
  const place = '#/cache?namespace=items&pattern=item:00*&key=item:0001&writer=slow'
  for (const theme of ['light', 'dark'] as const) {
    const page = await visit({ theme })
    await login(page, 'admin')
    await looksRight(t, page, place, theme, 'cache')
    const before = written
    await page.getByLabel('By').selectOption('the pattern')
    await page.getByLabel('Name', { exact: true }).fill('item:29*')
    await page.getByRole('button', { name: 'Invalidate', exact: true }).click()
    await answer(page, 'Invalidate')
    await page.getByText(/Entries that are invalidated: \d+/).waitFor()
    t.ok(written > before, 'others have written meanwhile')
  }
})

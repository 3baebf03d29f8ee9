/** The view of the state, in a real browser. */
import { Type } from '@sinclair/typebox'
import type { Page } from 'playwright-core'
import t from 'tap'
import { ADMIN_PASSWORD } from '../fixtures/app.ts'
import { openBrowser } from '../fixtures/browser.ts'
import { eventually } from '../fixtures/eventually.ts'
import { answer, looksRight, open, setUp } from './console-page.ts'

t.setTimeout(180_000)

const browser = await openBrowser(t)
const history = (page: Page, revision: number) => page.getByRole('row', { name: new RegExp(`^${revision} `) })

t.test('the history of a key tells each difference, and a revision can be restored', async (t) => {
  const { app, login, visit } = await setUp(t, browser)
  const first = await app.state.space('board').apply({
    ...({ op: 'set', key: 'card' } as const),
    value: { title: 'Paint', place: { column: 1, row: 2 }, done: false },
  })
  await app.state.space('board').merge('card', { done: true })
  await app.state.space('board').merge('card', { title: 'Paint it' })
  const page = await visit()
  await login(page, 'admin')
  await open(page, '#/state?space=board&key=card')
  const [one, two, three] = [0, 1, 2].map((n) => history(page, first.commit.revision + n)) as [
    ReturnType<typeof history>,
    ReturnType<typeof history>,
    ReturnType<typeof history>,
  ]
  t.same(await three.locator('ins').allTextContents(), ['+   "title": "Paint it",\n'])
  t.same(await three.locator('del').allTextContents(), ['-   "title": "Paint",\n'])
  t.same(await two.locator('ins').allTextContents(), ['+   "done": true\n'])
  t.notOk((await two.textContent())?.includes('title'), 'what is far from the change is left out')
  t.equal(await one.locator('ins').count(), 8, 'all of it is new')
  t.equal(await three.getByRole('button').count(), 0, 'what it is needs no restoring')

  await two.getByRole('button', { name: 'Restore' }).click()
  await answer(page, 'Cancel')
  t.match(app.state.space('board').get('card'), { title: 'Paint it' }, 'not without a yes')
  await two.getByRole('button', { name: 'Restore' }).click()
  await answer(page, 'Restore')
  await page.getByText(`It is what it was at revision ${first.commit.revision + 1}.`).waitFor()
  t.match(app.state.space('board').get('card'), { title: 'Paint', done: true })
  await history(page, first.commit.revision + 3).waitFor()

  // Somebody writes while the question stands there.
  await one.getByRole('button', { name: 'Restore' }).click()
  await page.getByRole('dialog').waitFor()
  await app.state.space('board').merge('card', { title: 'Mine' })
  await answer(page, 'Restore')
  await page.getByText('Somebody else has changed it meanwhile: nothing was restored.').waitFor()
  await page.locator('.conflict').getByText('"title": "Mine"').waitFor()
  t.match(app.state.space('board').get('card'), { title: 'Mine', done: true })

  await app.state.space('board').delete('card')
  await page.getByText('There is no such key now.').waitFor()
  await one.getByRole('button', { name: 'Restore' }).click()
  await answer(page, 'Restore')
  await page.getByText(`It is what it was at revision ${first.commit.revision}.`).waitFor()
  t.match(app.state.space('board').get('card'), { title: 'Paint', done: false }, 'a deleted key comes back')
  await open(page, '#/audit')
  await page
    .getByRole('row', { name: /state:write board \/ card/ })
    .first()
    .waitFor()
})

t.test('a key is given a time to live, keeps it while its value changes, and loses it again', async (t) => {
  const { app, login, visit } = await setUp(t, browser)
  const page = await visit()
  await login(page, 'admin')
  await open(page, '#/state?key=counter')
  const lives = page.getByLabel('Lives')
  const expiry = () => app.state.entry('counter')?.expiresAt
  await lives.selectOption('so long')
  await page.getByLabel('Seconds').fill('3600')
  await page.getByRole('button', { name: 'Save' }).click()
  await page.getByText(/Saved as revision/).waitFor()
  const until = expiry() ?? 0
  t.ok(Math.abs(until - Date.now() - 3_600_000) < 60_000, `${until}`)
  await page.getByText(/is deleted at/).waitFor()

  await page.getByLabel('Value as JSON').fill('70')
  await page.getByRole('button', { name: 'Save' }).click()
  await page.getByRole('row', { name: 'counter 70' }).waitFor()
  t.equal(app.state.get('counter'), 70)
  t.ok(Math.abs((expiry() ?? 0) - until) < 5_000, 'a new value does not make it live longer, or for ever')

  await lives.selectOption('for ever')
  await page.getByRole('button', { name: 'Save' }).click()
  await page.getByText(/is deleted at/).waitFor({ state: 'detached' })
  t.equal(expiry(), undefined)
  t.equal(app.state.get('counter'), 70)
})

t.test('what the schema of a key refuses is told by its place, beside the editor', async (t) => {
  const { app, login, visit } = await setUp(t, browser)
  app.state.define('settings', Type.Object({ limits: Type.Object({ rows: Type.Integer() }) }))
  const page = await visit()
  await login(page, 'admin')
  await open(page, '#/state?key=settings')
  const editor = page.getByLabel('Value as JSON')
  await editor.fill('{"limits": {"rows": "many"}}')
  await page.getByRole('button', { name: 'Save' }).click()
  await page.getByText('STATEFUL_STATE_SCHEMA').waitFor()
  t.equal(await page.locator('.misfits li').textContent(), '/limits/rows must be integer')
  t.equal(await editor.getAttribute('aria-invalid'), 'true')
  t.match(app.state.get('settings'), { limits: { rows: 50 } }, 'nothing was written')
  await editor.fill('{"limits": {"rows": 51}}')
  await page.getByRole('button', { name: 'Save' }).click()
  await page.getByText(/Saved as revision/).waitFor()
  t.equal(await page.locator('.misfits').count(), 0)
  t.match(app.state.get('settings'), { limits: { rows: 51 } })
})

t.test('leases are shown with their holders, and taken from them', async (t) => {
  const { app, login, visit } = await setUp(t, browser)
  const lease = await app.state.lease('report', { ttl: '5s' })
  const page = await visit()
  await login(page, 'admin')
  await open(page, '#/state')
  const row = page.getByRole('row', { name: /^report / })
  await row.getByText(/unless it is renewed/).waitFor()
  const { holder } = app.state.get('lease:report') as { holder: string }
  t.ok((await row.textContent())?.includes(holder))
  await row.getByRole('button', { name: 'Release' }).click()
  await answer(page, 'Release')
  await page.getByText('The lease report is released.').waitFor()
  // At its next renewal, which is a third of the time away.
  await eventually(() => !lease.held, 20_000)
  t.notOk(lease.held, 'its holder has heard of it')
  await page.getByText('Nobody holds one.').waitFor()
  const next = await app.state.lease('report', { ttl: '5s', wait: 0 })
  await row.waitFor()
  await next.release()
})

t.test('who is neither administrator nor observer is shown no action either', async (t) => {
  const { app, login, visit } = await setUp(t, browser)
  await app.accounts.create({ id: 'mel', username: 'mel', password: ADMIN_PASSWORD, role: 'user' })
  const lease = await app.state.lease('report', { ttl: '1m' })
  const page = await visit()
  await login(page, 'mel')
  await page.getByText('mel (user)').waitFor()
  await open(page, '#/state?key=counter')
  await page.getByRole('row', { name: 'counter 7' }).waitFor()
  await page.getByRole('row', { name: /^report / }).waitFor()
  const buttons = await page.locator('main').getByRole('button').allTextContents()
  t.same(
    buttons.filter((text) => !text.startsWith('Search')),
    [],
  )
  t.equal(await page.locator('main textarea').count(), 0)
  await lease.release()
})

t.test('in use while thousands of keys are there and others write all the time', async (t) => {
  const { app, login, visit } = await setUp(t, browser)
  const busy = app.state.space('busy')
  for (let i = 0; i < 3_000; i += 100) {
    const ops = Array.from({ length: 100 }, (_, n) => {
      return {
        op: 'set' as const,
        key: `item:${`${i + n}`.padStart(4, '0')}`,
        value: { n: i + n, text: 'x'.repeat(60) },
      }
    })
    await busy.commit(ops)
  }
  const lease = await busy.lease('import', { ttl: '1m' })
  let writing = true
  let written = 0
  const writer = (async () => {
    while (writing) {
      await busy.merge('item:0000', { n: ++written, text: `changed ${written} times`, list: [written, 1, 2, 3] })
      await busy.set(`item:${`${written % 2_900}`.padStart(4, '0')}`, { n: -written })
      if (written % 10 === 0) await new Promise((resolve) => setTimeout(resolve, 5))
    }
  })()
  t.teardown(async () => {
    writing = false
    await writer
    await lease.release()
  })
  for (const theme of ['light', 'dark'] as const) {
    const page = await visit({ theme })
    await login(page, 'admin')
    await looksRight(t, page, '#/state?space=busy&key=item:0000', theme, 'state')
    await open(page, '#/state?space=busy&prefix=item:29&key=item:2999')
    await page.getByRole('row', { name: /^item:2999/ }).waitFor()
    const before = written
    await page.getByLabel('Value as JSON').fill(`{"n": "${theme}"}`)
    await page.getByRole('button', { name: 'Save' }).click()
    await page.getByText(/Saved as revision/).waitFor()
    t.match(busy.get('item:2999'), { n: theme })
    await t.resolves(page.waitForFunction(() => document.querySelectorAll('.diff ins').length > 0))
    t.ok(written > before, 'others have written meanwhile')
  }
})

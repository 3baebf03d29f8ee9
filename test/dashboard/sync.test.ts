/** The sync view of the console in a real browser. Its files are those of `npm run build`. */
import type { FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import { openBrowser } from '../fixtures/browser.ts'
import { eventually } from '../fixtures/eventually.ts'
import { SyncPeer } from '../fixtures/sync-peer.ts'
import { open, setUp, violations, widthBeyond } from './console-page.ts'

t.setTimeout(120_000)

const browser = await openBrowser(t)

async function connect(t: Test, app: FastifyInstance, url: string) {
  const cookie = await app.sessionActions.issue({ id: 'grace', username: 'grace', role: 'administrator' })
  const { port } = new URL(url)
  const peer = await SyncPeer.connect(t, `ws://localhost:${port}/sync?space=app`, { headers: { cookie } })
  await peer.next()
  return peer
}

t.test(
  'a connection tells its bytes and its lag, and its messages as they come, without what they carry',
  async (t) => {
    const { app, login, url, visit } = await setUp(t, browser)
    const page = await visit()
    await login(page, 'olga')
    const peer = await connect(t, app, url)
    await open(page, '#/sync')
    const row = page.getByRole('row', { name: /^grace websocket/ })
    await row.waitFor()
    await page.getByRole('columnheader', { name: 'Sent, received' }).waitFor()
    const cells = await row.getByRole('cell').allTextContents()
    t.equal(cells[4], '0\u00a0rev.')
    t.match(cells[6], /^\d+(\.\d)? (B|KiB), \d+(\.\d)? (B|KiB)$/, 'sent, and received')
    t.equal(app.sync.hub.traces.active, false, 'nobody looks yet')

    await row.getByRole('link', { name: 'Trace' }).click()
    await page.getByText('Live; it ends by itself').waitFor()
    t.equal(app.sync.hub.traces.active, true)
    peer.send({ type: 'write', seq: 1, ops: [{ op: 'set', key: 'greeting', value: 'top secret' }] })
    await page.getByRole('row', { name: /received write set greeting \(string, 12 B\)/ }).waitFor()
    await page.getByRole('row', { name: /sent ack/ }).waitFor()
    t.notMatch(await page.locator('main').textContent(), /top secret/)
    for (const width of [320, 1_280]) {
      await page.setViewportSize({ width, height: 900 })
      t.ok((await widthBeyond(page)) <= 0, `${width} px`)
      t.same(await violations(page), [], `${width} px`)
    }

    t.comment('it can be sent to others, and ends with the look')
    await page.reload()
    await page.getByText('Live; it ends by itself').waitFor()
    await page.getByRole('link', { name: 'Stop' }).click()
    await eventually(() => !app.sync.hub.traces.active)
  },
)

t.test('the messages of a space, whoever sends them', async (t) => {
  const { app, login, url, visit } = await setUp(t, browser)
  const page = await visit()
  await login(page, 'admin')
  await connect(t, app, url)
  await open(page, '#/sync')
  await page.getByRole('link', { name: 'Trace the space app' }).click()
  await page.getByText('Live; it ends by itself').waitFor()
  await app.state.set('settings', { theme: 'light' })
  await page.getByRole('row', { name: /sent stateChange set settings \(object, 17 B\)/ }).waitFor()
  await open(page, '#/overview')
  await eventually(() => !app.sync.hub.traces.active)
  await open(page, '#/sync?trace=gone')
  await page.getByText('The server shows none').waitFor()
})

/** The board in two real browsers, each behind a network of its own. */
import type { Browser, Page } from 'playwright-core'
import t, { type Test } from 'tap'
import { openBrowser, openPageBehindNetwork } from '../fixtures/browser.ts'
import { startExample } from '../fixtures/example.ts'
import type { FaultProxy } from '../fixtures/fault-proxy.ts'

interface Visitor {
  page: Page
  network: FaultProxy
  is(name: string): Promise<void>
  pin(text: string): Promise<void>
}

async function visit(t: Test, browser: Browser, server: string): Promise<Visitor> {
  const { context, page, network } = await openPageBehindNetwork(t, browser, server)
  await context.route('**/*', (route) =>
    new URL(route.request().url()).port === `${network.port}` ? route.continue() : route.abort(),
  )
  await page.goto(`http://${network.host}:${network.port}/`)
  return {
    page,
    network,
    async is(name) {
      await page.fill('#name', name)
      await page.press('#name', 'Tab')
    },
    async pin(text) {
      await page.fill('#text', text)
      await page.press('#text', 'Enter')
    },
  }
}

/** Resolves when the element shows exactly that. */
const shows = (page: Page, selector: string, pattern: RegExp) =>
  page.locator(selector, { hasText: pattern }).first().waitFor()

const notes = (page: Page) => page.locator('#notes li').allTextContents()

t.test('two browsers share a board: changes, presence, an offline queue, a refused write', async (t) => {
  const url = await startExample(t, 'board/server.js', { STORAGE: 'memory:' })
  const browser = await openBrowser(t)
  const [ada, bob] = await Promise.all([visit(t, browser, url), visit(t, browser, url)])

  await Promise.all([ada.is('Ada'), bob.is('Bob')])
  for (const { page } of [ada, bob]) {
    await shows(page, '#people', /Ada/)
    await shows(page, '#people', /Bob/)
    await shows(page, '#status', /^live$/)
  }
  await ada.pin('hello from Ada')
  await shows(bob.page, '#notes li', /^hello from Ada/)
  await shows(bob.page, '#notes b', /^Ada$/)

  t.comment('Bob loses his network: what he writes waits, and Ada sees him go')
  bob.network.refuse()
  bob.network.cut()
  await shows(bob.page, '#status', /offline/)
  await shows(ada.page, '#people', /^Ada$/)
  await bob.pin('written in a tunnel')
  await bob.page.click('#like')
  await ada.page.click('#like')
  await ada.pin('written meanwhile')
  await shows(bob.page, '#status', /offline, 2 to send/)
  await shows(bob.page, '#notes li', /written in a tunnel/)
  t.equal(await bob.page.textContent('#likes'), '1')
  t.notMatch(await notes(ada.page), [/tunnel/])

  t.comment('and comes back')
  bob.network.heal()
  await bob.page.evaluate(() => dispatchEvent(new Event('online')))
  for (const { page } of [ada, bob]) {
    await shows(page, '#status', /^live$/)
    await shows(page, '#likes', /^2$/)
    await shows(page, '#notes li', /written in a tunnel/)
    await shows(page, '#notes li', /written meanwhile/)
    await shows(page, '#people', /Bob/)
  }
  t.strictSame(await notes(ada.page), await notes(bob.page))

  t.comment('what the server refuses was shown, and is taken back')
  const before = await notes(ada.page)
  const shown = bob.page.evaluate(
    () =>
      new Promise<number>((resolve) => {
        const list = document.getElementById('notes') as HTMLElement
        new MutationObserver(() => resolve(list.children.length)).observe(list, { childList: true })
      }),
  )
  await bob.pin('x'.repeat(81))
  t.equal(await shown, before.length + 1)
  await shows(bob.page, '#problem', /80 characters/)
  t.strictSame([await notes(bob.page), await notes(ada.page)], [before, before])
})

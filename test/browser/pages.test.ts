/** What pages go through, in a real browser: the client bundled from the packed package, behind a network of its own. */
import type { BrowserContext, Page } from 'playwright-core'
import t, { type Test } from 'tap'
import { openBrowser, openPageBehindNetwork } from '../fixtures/browser.ts'
import { eventually } from '../fixtures/eventually.ts'
import type { FaultProxy } from '../fixtures/fault-proxy.ts'
import { type Bundler, installSite, serveSite } from './site.ts'

// It asks the registry for what npm has not cached.
t.setTimeout(300_000)

const PAGES = { esbuild: ['plain.js'], vite: ['plain.js'] }
const project = await installSite(t, PAGES, [])
const browser = await openBrowser(t, ['--host-resolver-rules=MAP lan.example 127.0.0.1'])

interface Visit {
  context: BrowserContext
  page: Page
  network: FaultProxy
  /** Of the page, by the network. */
  address: string
  /** What the server has under a key of the board. */
  value(key: string): Promise<unknown>
  ask(path: string, body?: object): Promise<unknown>
}

async function visit(t: Test, bundler: Bundler, host = '127.0.0.1'): Promise<Visit> {
  const server = await serveSite(t, project, bundler)
  const { context, page, network } = await openPageBehindNetwork(t, browser, server)
  const address = `http://${host}:${network.port}/plain.html`
  await page.goto(address)
  const ask = async (path: string, body?: object) => {
    const headers = { 'content-type': 'application/json' }
    const init = body && { method: 'POST', headers, body: JSON.stringify(body) }
    return (await fetch(`${server}${path}`, init)).json()
  }
  const value = async (key: string) => ((await ask(`/value/board?key=${key}`)) as { value: unknown }).value
  return { context, page, network, address, ask, value }
}

/** Runs in the page, where `board` is the replica of that space. */
const within = (page: Page, code: string) =>
  page.evaluate(`(async () => { globalThis.board ??= client.replica('board'); ${code} })()`)
const becomes = (page: Page, condition: string) => page.waitForFunction(condition, undefined, { polling: 20 })

for (const bundler of Object.keys(PAGES) as Bundler[]) {
  t.test(`a duplicated tab writes for itself, by ${bundler}`, async (t) => {
    const { context, page, value } = await visit(t, bundler)
    await within(page, 'await board.set("first", 1)')
    // As the browser does it: what the tab has in its sessionStorage is copied.
    const [copy] = await Promise.all([context.waitForEvent('page'), page.evaluate('void window.open(location.href)')])
    await copy.waitForLoadState()
    const revisions = await Promise.all(
      [page, copy].map((tab, index) => within(tab, `return (await board.set("tab${index}", ${index})).revision`)),
    )
    t.not(revisions[0], revisions[1])
    t.strictSame([await value('tab0'), await value('tab1')], [0, 1])
  })

  t.test(`a reload sends what the page before it could not, by ${bundler}`, async (t) => {
    const { page, network, address, value } = await visit(t, bundler)
    await within(page, 'await board.set("n", 0)')
    network.halfOpen()
    await within(page, 'for (let i = 0; i < 20; i++) void board.increment("n").catch(() => {})')
    t.equal(await page.evaluate('board.get("n")'), 20, 'shown at once')
    network.heal()
    await page.goto(address)
    await within(page, 'await board.ready()')
    await eventually(async () => (await value('n')) === 20)
    await becomes(page, 'board.get("n") === 20 && board.pending === 0')
  })

  t.test(
    `a page that was frozen beside a dead connection is live again within the heartbeat, by ${bundler}`,
    async (t) => {
      const { context, page, network, ask } = await visit(t, bundler)
      await within(page, 'await board.set("title", "before")')
      const devtools = await context.newCDPSession(page)
      await devtools.send('Page.setWebLifecycleState', { state: 'frozen' })
      network.halfOpen()
      await ask('/value/board', { key: 'title', value: 'meanwhile' })
      await devtools.send('Page.setWebLifecycleState', { state: 'active' })
      // Nothing tells the page but that nobody answers.
      await becomes(page, 'board.status !== "live"')
      network.heal()
      await becomes(page, 'board.get("title") === "meanwhile" && board.status === "live"')
    },
  )

  t.test(`a thousand writes of an hour offline arrive, each once and in order, by ${bundler}`, async (t) => {
    const { page, network, value } = await visit(t, bundler)
    await within(page, 'await board.set("list", [])')
    network.refuse()
    network.cut()
    await becomes(page, 'board.status === "offline"')
    await within(
      page,
      'globalThis.writes = Promise.allSettled(Array.from({ length: 1000 }, (_, i) => i % 100 === 0 ? board.append("list", i) : board.increment("n")))',
    )
    t.equal(await page.evaluate('board.pending'), 1000)
    network.heal()
    await page.evaluate('void dispatchEvent(new Event("online"))')
    t.strictSame(await page.evaluate('writes.then((all) => all.filter(({ status }) => status !== "fulfilled"))'), [])
    t.equal(await value('n'), 990)
    t.strictSame(
      await value('list'),
      Array.from({ length: 10 }, (_, i) => i * 100),
    )
    t.equal(await page.evaluate('board.pending'), 0)
  })

  t.test(`a session that ended while the page was offline: it says so, and keeps nothing, by ${bundler}`, async (t) => {
    const { page, network, ask } = await visit(t, bundler)
    await page.evaluate('fetch("/login", { method: "POST" })')
    await within(page, 'globalThis.own = client.replica("private"); await own.set("secret", 1)')
    network.refuse()
    network.cut()
    await becomes(page, 'own.status === "offline"')
    t.strictSame(await ask('/end', {}), { ended: 1 })
    network.heal()
    await page.evaluate('void dispatchEvent(new Event("online"))')
    await becomes(page, '["unauthenticated", "forbidden"].includes(own.status)')
    t.strictSame(await page.evaluate('own.snapshot()'), {})
    t.match(await page.evaluate('own.ready().then(() => "ready", ({ name }) => name)'), 'ReplicaError')
  })

  t.test(`a write of 2 MiB among small ones is refused, and only that, by ${bundler}`, async (t) => {
    const { page, value } = await visit(t, bundler)
    const outcomes = await within(
      page,
      `const all = await Promise.allSettled([board.set('a', 1), board.set('big', 'x'.repeat(2 ** 21)), board.set('b', 2)])
       return all.map(({ status, reason }) => reason?.code ?? status)`,
    )
    t.strictSame(outcomes, ['fulfilled', 'STATEFUL_WRITE_TOO_LARGE', 'fulfilled'])
    t.strictSame([await value('a'), await value('b'), await page.evaluate('board.status')], [1, 2, 'live'])
  })

  t.test(`of 101 subscriptions a hundred live, and the other one when there is room, by ${bundler}`, async (t) => {
    const { page } = await visit(t, bundler)
    await within(
      page,
      'globalThis.all = Array.from({ length: 101 }, (_, i) => client.replica("board", { key: "k" + i })); board.close()',
    )
    await becomes(page, 'all.filter(({ status }) => status === "live").length === 100')
    t.equal(await page.evaluate('all.find(({ status }) => status !== "live").status'), 'limited')
    await page.evaluate('all.find(({ status }) => status === "live").close()')
    await becomes(page, 'all.filter(({ status }) => status === "live").length === 100')
  })

  t.test(`plain http in a local network, where browsers offer less, by ${bundler}`, async (t) => {
    const { page, value } = await visit(t, bundler, 'lan.example')
    t.equal(await page.evaluate('isSecureContext'), false)
    await within(page, 'await board.set("title", "by the LAN")')
    t.equal(await value('title'), 'by the LAN')
  })
}

/** The adapters with the real frameworks, bundled from the packed package, in a real browser. */
import t, { type Test } from 'tap'
import { openBrowser, openPage } from '../fixtures/browser.ts'
import { eventually } from '../fixtures/eventually.ts'
import { type Bundler, complaintsOf, installSite, serveSite } from './site.ts'

// It asks the registry for what npm has not cached.
t.setTimeout(300_000)

const PAGES = {
  // For components of Vue and Svelte esbuild needs plugins that are not its own.
  esbuild: ['react.jsx', 'preact.jsx'],
  vite: ['react.jsx', 'preact.jsx', 'vue.js', 'svelte.js'],
}
const project = await installSite(t, PAGES, [
  ...['react', 'react-dom', 'preact', 'vue', 'svelte'],
  ...['@vitejs/plugin-vue', '@sveltejs/vite-plugin-svelte'],
])
const browser = await openBrowser(t)

async function followed(t: Test, bundler: Bundler, name: string) {
  const url = await serveSite(t, project, bundler)
  const ask = async (path: string, body?: object) => {
    const init = body && { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) }
    return (await fetch(`${url}${path}`, init)).json()
  }
  const comesTo = (path: string, expected: unknown) => eventually(async () => (await ask(path)) === expected)
  const { page } = await openPage(t, browser)
  const complaints = complaintsOf(page)
  const shows = (id: string, text: string) => page.locator(`#${id}`, { hasText: new RegExp(`^${text}$`) }).waitFor()

  await page.goto(`${url}/${name}.html`)
  await shows('title', 'from the server')
  await page.locator('#likes[data-status=live]').waitFor()
  await shows('people', '1')
  t.equal(await ask('/nodes'), 1, 'all components share one connection')

  await page.click('#likes')
  await page.click('#likes-too')
  await shows('likes', '2')
  await shows('likes-too', '2')
  await eventually(async () => (await ask('/value/board?key=likes')).value === 2)
  await ask('/value/app', { key: 'title', value: 'changed' })
  await shows('title', 'changed')

  await page.click('#leave')
  await comesTo('/people/board', 0)
  await ask('/value/app', { key: 'title', value: 'still live' })
  await shows('title', 'still live')
  return { complaints, page, url }
}

for (const bundler of Object.keys(PAGES) as Bundler[]) {
  for (const page of PAGES[bundler]) {
    const name = page.replace(/\.\w+$/, '')
    t.test(`${name}, by ${bundler}`, async (t) => {
      const { complaints } = await followed(t, bundler, name)
      t.strictSame(
        complaints.filter((text) => !/favicon|404/.test(text)),
        [],
      )
    })
  }
  t.test(`react, rendered on a server first, by ${bundler}`, async (t) => {
    const { complaints, page, url } = await followed(t, bundler, 'react-server')
    t.strictSame(
      complaints.filter((text) => !/favicon|404/.test(text)),
      [],
      'the page is what the server rendered',
    )
    t.strictSame(await page.evaluate('serverProblems'), [])
    t.equal(await (await fetch(`${url}/nodes`)).json(), 1, 'the server has opened no connection to itself')
  })
}

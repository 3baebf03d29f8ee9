/** Each example runs as a process of its own, on the built package that it imports by name. */
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { startExample } from '../fixtures/example.ts'
import { onEveryStorage, storageUrl, temporaryFolder } from '../fixtures/storages.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))

/** Each run's example and exit code. */
const runs: { name: string; code: number | null }[] = []

const start = (t: Test, name: string, env: Record<string, string>) =>
  startExample(t, name, env, (code) => runs.push({ name, code }))

t.test('minimal.js counts the visits of one visitor and of all', (t) =>
  onEveryStorage(t, async (t, kind) => {
    const url = await start(t, 'minimal.js', { STORAGE: await storageUrl(t, kind) })
    const first = await fetch(url)
    const cookie = (first.headers.get('set-cookie') ?? '').split(';')[0] ?? ''
    const { greeting, ...counts } = await first.json()
    t.same(counts, { yours: 1, all: 1 })
    t.same(await (await fetch(url, { headers: { cookie } })).json(), { greeting, yours: 2, all: 2 })
    t.same(await (await fetch(url)).json(), { greeting, yours: 1, all: 3 })
  }),
)

t.test('single-plugins.js caches until the guarded route invalidates by pattern', async (t) => {
  const url = await start(t, 'single-plugins.js', { ADMIN_TOKEN: 'opens' })
  const product = async (id: number) => (await fetch(`${url}/products/${id}`)).json()
  t.same(await product(1), { id: '1', name: 'Product 1', queries: 1 })
  t.same(await product(1), { id: '1', name: 'Product 1', queries: 1 })
  t.same(await product(2), { id: '2', name: 'Product 2', queries: 2 })

  const invalidate = (headers: Record<string, string>) =>
    fetch(`${url}/internal/cache/invalidate`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...headers },
      body: JSON.stringify({ patterns: ['product:*'] }),
    })
  t.equal((await invalidate({})).status, 401)
  t.same(await product(1), { id: '1', name: 'Product 1', queries: 2 }, 'a refused request changes nothing')
  t.ok((await invalidate({ authorization: 'Bearer opens' })).ok)
  t.same(await product(1), { id: '1', name: 'Product 1', queries: 3 })
})

t.test('spaces.js shows a space to its owner and members, and to nobody else', (t) =>
  onEveryStorage(t, async (t, kind) => {
    const url = await start(t, 'spaces.js', { STORAGE: await storageUrl(t, kind) })
    const enter = async (name: string) => {
      const answer = await fetch(`${url}/enter/${name}`, { method: 'POST' })
      const cookie = (answer.headers.get('set-cookie') ?? '').split(';')[0] ?? ''
      return async (method: string, path: string, value?: unknown) => {
        const body = value === undefined ? {} : { body: JSON.stringify({ value }) }
        const type = value === undefined ? {} : { 'content-type': 'application/json' }
        return (await fetch(url + path, { method, headers: { cookie, ...type }, ...body })).status
      }
    }
    const [ada, bob, eve] = [await enter('ada'), await enter('bob'), await enter('eve')]
    t.equal(await ada('POST', '/spaces/plans'), 201)
    t.equal(await eve('POST', '/spaces/plans'), 409)
    t.equal(await ada('PUT', '/state/keys/a?space=plans', 1), 200)
    t.equal(await bob('GET', '/state/keys/a?space=plans'), 403)
    t.equal(await bob('PUT', '/spaces/plans/members/bob'), 403)
    t.equal(await ada('PUT', '/spaces/plans/members/bob'), 204)
    t.equal(await bob('GET', '/state/keys/a?space=plans'), 200)
    t.equal(await bob('PUT', '/state/keys/a?space=plans', 2), 200)
    t.equal(await bob('GET', '/state/changes?since=0&space=plans'), 403, 'the history is the owner’s')
    t.equal(await ada('GET', '/state/changes?since=0&space=plans'), 200)
    for (const path of ['/state/keys?space=plans', '/state/snapshot?space=plans', '/sync/events?space=plans']) {
      t.equal(await eve('GET', path), 403, path)
    }
    for (const one of [ada, eve]) t.equal(await one('GET', '/state/snapshot?space=visibility'), 403)
    t.equal((await fetch(`${url}/state/snapshot?space=plans`)).status, 401)
  }),
)

t.test('own-store.js keeps its sessions in the store that it brings', async (t) => {
  const audit = join(await temporaryFolder(t), 'audit.log')
  const url = await start(t, 'own-store.js', { AUDIT_FILE: audit })
  const login = await fetch(`${url}/login/ada`, { method: 'POST' })
  t.same(await login.json(), { user: { id: 'ada' } })
  const headers = { cookie: (login.headers.get('set-cookie') ?? '').split(';')[0] ?? '' }
  t.same(await (await fetch(url, { headers })).json(), { user: { id: 'ada' } })
  t.equal((await fetch(`${url}/logout`, { method: 'POST', headers })).status, 204)
  t.same(await (await fetch(url, { headers })).json(), { user: null })
  const [begins, ends, ...rest] = (await readFile(audit, 'utf8')).trim().split('\n')
  const handle = begins?.split(' ')[2]
  t.match(begins, / begins \S+$/)
  t.match(ends, new RegExp(` ends ${handle}$`))
  t.same(rest, [])
  t.notOk(headers.cookie.includes(handle as string), 'the handle does not open the session')
})

t.test('every example was run and ended cleanly on SIGTERM', async (t) => {
  const examples = (await readdir(`${root}/examples`)).filter((file) => file.endsWith('.js'))
  t.same([...new Set(runs.map(({ name }) => name))].sort(), examples.sort())
  t.same(
    runs.filter(({ code }) => code !== 0),
    [],
  )
})

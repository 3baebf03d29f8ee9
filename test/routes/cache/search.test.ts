import t from 'tap'
import type { CacheEntries, CacheNamespaces, CacheWriters } from '../../../openapi/schemas/cache.ts'
import { loggedIn, loggedInUser, testApp } from '../../fixtures/app.ts'
import { eventually } from '../../fixtures/eventually.ts'
import { onEveryStorage, storageUrl } from '../../fixtures/storages.ts'

t.test('entries are found by their keys, page by page, and looking leaves no trace', (t) =>
  onEveryStorage(t, async (t, kind) => {
    const app = await testApp(t, { storage: await storageUrl(t, kind) })
    const admin = await loggedIn(app)
    const search = async (query: string) => (await admin({ url: `/cache/entries${query}` })).json<CacheEntries>()
    t.same(await search('?namespace=unknown'), { entries: [] })
    t.notOk(app.cache.namespaces.includes('unknown'), 'nobody opens a namespace by looking for it')
    const users = app.cache.namespace('users')
    for (let i = 0; i < 25; i++) {
      await users.set(`user:${`${i}`.padStart(2, '0')}`, { i }, { ttl: '1m', tags: ['users', `n${i}`] })
    }
    await users.set('other', 1)
    // The first entries of a namespace may be older than its proof that they are current.
    await users.get('user:00')
    const before = users.numbers()

    const first = await search('?namespace=users&pattern=user:*&limit=10')
    const keys = first.entries.map(({ key }) => key)
    t.equal(keys.length, 10)
    t.same([keys[0], keys[9], first.cursor], ['user:00', 'user:09', 'user:09'])
    const [entry] = first.entries
    t.match(entry, { fresh: true, level: 'first', tags: ['users', 'n0'], bytes: Number })
    t.ok(entry && entry.ttl > 50_000 && entry.ttl <= 60_000, `${entry?.ttl} ms left`)
    const rest: string[] = []
    for (let { cursor } = first; cursor !== undefined; ) {
      const page = await search(`?namespace=users&pattern=user:*&limit=10&cursor=${cursor}`)
      rest.push(...page.entries.map(({ key }) => key))
      cursor = page.cursor
    }
    t.equal(rest.length, 15)
    t.equal((await search('?namespace=users&pattern=user:?7')).entries.length, 2)
    t.equal((await search('?namespace=users&pattern=nothing*')).entries.length, 0)
    t.same(users.numbers(), before, 'nothing was counted')

    await users.expire('other')
    t.match((await search('?namespace=users&pattern=other')).entries, [{ fresh: false, ttl: 0, level: 'second' }])
    await users.invalidateTags('n3')
    t.equal((await search('?namespace=users&pattern=user:03')).entries.length, 0, 'what was invalidated is not there')
    await users.clear()
    t.same(await search('?namespace=users'), { entries: [] })
  }),
)

t.test('namespaces with their hottest keys, writers with what waits, spaces', async (t) => {
  const app = await testApp(t)
  const admin = await loggedIn(app)
  const users = app.cache.namespace('users')
  await users.set('hot', 1)
  for (let i = 0; i < 5; i++) await users.get('hot')
  await users.get('cold')
  const { namespaces } = (await admin({ url: '/cache/namespaces' })).json<CacheNamespaces>()
  t.match(
    namespaces.find(({ name }) => name === 'users'),
    { lookups: 6, entries: 1, hottest: ['hot'] },
  )
  t.notOk(namespaces.some(({ name }) => name === 'hot-keys'))

  t.same((await admin({ url: '/cache/writers' })).json(), { writers: [] })
  app.cache.writeBehind('orders', () => Promise.reject(Object.assign(new Error('no'), { permanent: true })))
  await app.cache.setWithDelayedPersist('order:1', 1, { writer: 'orders' })
  await eventually(async () => {
    const { writers } = (await admin({ url: '/cache/writers' })).json<CacheWriters>()
    return writers[0]?.name === 'orders' && writers[0].pending + writers[0].dead === 1
  })

  await app.state.space('board').set('k', 1)
  t.same((await admin({ url: '/state/spaces' })).json(), { spaces: ['app', 'board'] })
})

t.test('the names of entries are for those who watch over the application', async (t) => {
  const app = await testApp(t)
  const user = await loggedInUser(app)
  for (const url of [
    '/cache/entries',
    '/cache/entries?pattern=%00',
    '/cache/namespaces',
    '/cache/writers',
    '/state/spaces',
  ]) {
    t.equal((await user({ url })).statusCode, 403, url)
  }
  const admin = await loggedIn(app)
  for (const query of ['?limit=0', '?pattern=', '?namespace=a:b', '?patern=*']) {
    t.equal((await admin({ url: `/cache/entries${query}` })).statusCode, 400, query)
  }
})

import type { Test } from 'tap'
import type { StoredToken, TokenStore } from '../../plugins/tokens/token-store.ts'

function tokenOf(id: string, overrides: Partial<StoredToken> = {}): StoredToken {
  return { id, digest: `digest-of-${id}`, name: id, scopes: ['state:read'], createdAt: 1_000, ...overrides }
}

const ids = (tokens: StoredToken[]) => tokens.map(({ id }) => id).sort()

/** What every store of access tokens must do. `make` gives a store on fresh, empty storage. */
export async function tokenStoreSuite(t: Test, make: (t: Test) => Promise<TokenStore>): Promise<void> {
  t.test('what was created is found by its digest, and listed', async (t) => {
    const store = await make(t)
    const one = tokenOf('one', { createdBy: 'ada', expiresAt: 5_000, scopes: ['stats:read', 'state:write'] })
    t.same(await store.list(), [])
    t.equal(await store.create(one, 10), true)
    t.same(await store.find('digest-of-one'), one)
    t.equal(await store.find('one'), undefined)
    t.equal(await store.find('digest-of-two'), undefined)
    t.same(await store.list(), [one])
  })

  t.test('of parallel ones no more are created than there may be', async (t) => {
    const store = await make(t)
    const created = await Promise.all([1, 2, 3, 4, 5].map((n) => store.create(tokenOf(`t${n}`), 3)))
    t.equal(created.filter(Boolean).length, 3)
    t.equal((await store.list()).length, 3)
  })

  t.test('one that is revoked opens nothing, and leaves its place', async (t) => {
    const store = await make(t)
    await store.create(tokenOf('one'), 2)
    await store.create(tokenOf('two'), 2)
    t.same(await Promise.all([store.revoke('one'), store.revoke('none'), store.revoke('digest-of-two')]), [
      true,
      false,
      false,
    ])
    t.equal(await store.find('digest-of-one'), undefined)
    t.same(ids(await store.list()), ['two'])
    t.equal(await store.revoke('one'), false)
    t.equal(await store.create(tokenOf('three'), 2), true)
  })

  t.test('a use is recorded, but brings nothing back', async (t) => {
    const store = await make(t)
    await store.create(tokenOf('one'), 2)
    await store.touch('one', 2_000)
    t.match(await store.list(), [{ id: 'one', lastUsedAt: 2_000, name: 'one' }])
    await store.touch('one', 3_000)
    t.match(await store.list(), [{ lastUsedAt: 3_000 }])
    await Promise.all([store.revoke('one'), store.touch('one', 4_000)])
    await store.touch('none', 4_000)
    t.same(await store.list(), [])
    t.equal(await store.find('digest-of-one'), undefined)
  })
}

import type { Test } from 'tap'
import type { AccountStore, StoredAccount } from '../../plugins/accounts/account-store.ts'

function accountOf(name: string, overrides: Partial<StoredAccount> = {}): StoredAccount {
  return { id: `id-${name}`, username: name, nameKey: name, role: 'user', passwordHash: 'hash', ...overrides }
}

/** What every account store must do. `make` gives a store on fresh, empty storage. */
export async function accountStoreSuite(t: Test, make: (t: Test) => Promise<AccountStore>): Promise<void> {
  t.test('what was created is found by id and by name', async (t) => {
    const store = await make(t)
    const ada = accountOf('ada', { displayName: 'Ada', email: 'ada@example.org' })
    t.equal(await store.count(), 0)
    t.equal(await store.create(ada), true)
    t.same(await store.get('id-ada'), ada)
    t.same(await store.findByName('ada'), ada)
    t.equal(await store.get('ada'), undefined)
    t.equal(await store.findByName('id-ada'), undefined)
    t.equal(await store.count(), 1)
  })

  t.test('of parallel accounts of one name, or of one id, exactly one is created', async (t) => {
    const store = await make(t)
    const names = await Promise.all([1, 2, 3, 4].map((n) => store.create(accountOf('ada', { id: `id-${n}` }))))
    t.equal(names.filter(Boolean).length, 1)
    const ids = await Promise.all([1, 2, 3, 4].map((n) => store.create(accountOf(`grace-${n}`, { id: 'one' }))))
    t.equal(ids.filter(Boolean).length, 1)
    t.equal(await store.count(), 2)
  })

  t.test('an update changes what it names; a name is free when it was given up', async (t) => {
    const store = await make(t)
    await store.create(accountOf('ada', { displayName: 'Ada' }))
    await store.create(accountOf('grace'))
    t.same(
      await store.update('id-ada', { role: 'administrator' }),
      accountOf('ada', { displayName: 'Ada', role: 'administrator' }),
    )
    t.equal(await store.update('nobody', { role: 'user' }), undefined)
    t.equal(await store.update('id-ada', { username: 'grace', nameKey: 'grace' }), 'taken')
    t.match(await store.get('id-ada'), { username: 'ada' })
    t.match(await store.update('id-ada', { username: 'Ada', nameKey: 'ada' }), { username: 'Ada' }, 'its own name')
    t.match(await store.update('id-ada', { username: 'countess', nameKey: 'countess' }), { username: 'countess' })
    t.equal(await store.findByName('ada'), undefined)
    t.match(await store.findByName('countess'), { id: 'id-ada' })
    t.equal(await store.create(accountOf('ada', { id: 'other' })), true)
    t.equal(await store.count(), 3)
  })
}

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

  t.test('each role is kept', async (t) => {
    const store = await make(t)
    for (const role of ['administrator', 'observer', 'user'] as const) {
      const account = accountOf(role, { role })
      await store.create(account)
      t.same(await store.get(account.id), account, role)
    }
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

  t.test('one that is deleted is gone, with its name', async (t) => {
    const store = await make(t)
    await store.create(accountOf('ada'))
    await store.create(accountOf('grace'))
    t.equal(await store.delete('nobody'), false)
    t.equal(await store.delete('id-ada'), true)
    t.equal(await store.delete('id-ada'), false)
    t.equal(await store.get('id-ada'), undefined)
    t.equal(await store.findByName('ada'), undefined)
    t.equal(await store.update('id-ada', { disabled: true }), undefined)
    t.equal(await store.count(), 1)
    t.equal(await store.create(accountOf('ada', { id: 'other' })), true)
  })

  t.test('one that is disabled says so, and one that is enabled again does not', async (t) => {
    const store = await make(t)
    await store.create(accountOf('ada'))
    t.match(await store.update('id-ada', { disabled: true }), { disabled: true })
    t.match(await store.get('id-ada'), { disabled: true })
    await store.update('id-ada', { disabled: false })
    t.not((await store.get('id-ada'))?.disabled, true)
  })

  t.test('the last administrator who can log in stays, whatever is tried at the same time', async (t) => {
    const store = await make(t)
    const admin = (name: string) => store.create(accountOf(name, { role: 'administrator' }))
    const left = async () => {
      const accounts = await store.list({ prefix: '', limit: 100 })
      return accounts.filter(({ role, disabled }) => role === 'administrator' && !disabled).length
    }
    await store.create(accountOf('user'))
    await admin('one')
    t.equal(await store.delete('id-one'), 'last')
    t.equal(await store.update('id-one', { role: 'user' }), 'last')
    t.equal(await store.update('id-one', { disabled: true, username: 'x', nameKey: 'x' }), 'last')
    t.match(await store.get('id-one'), { role: 'administrator', username: 'one' })
    t.match(
      await store.update('id-one', { passwordHash: 'other' }),
      { passwordHash: 'other' },
      'anything else may change',
    )

    await admin('two')
    t.match(await store.update('id-two', { disabled: true }), { disabled: true })
    t.equal(await store.delete('id-one'), 'last', 'one who cannot log in is none')
    t.equal(await store.delete('id-two'), true, 'and may go')
    t.match(await store.update('id-user', { role: 'administrator' }), { role: 'administrator' })
    t.match(await store.update('id-one', { role: 'user' }), { role: 'user' })
    t.equal(await store.update('id-user', { role: 'user' }), 'last')

    for (let round = 0; round < 5; round++) {
      const names = [1, 2, 3, 4, 5, 6].map((n) => `r${round}-${n}`)
      await Promise.all(names.map(admin))
      await Promise.all([
        store.update('id-user', { role: 'user' }),
        ...names.map((name, n) =>
          n % 3 === 0
            ? store.delete(`id-${name}`)
            : store.update(`id-${name}`, n % 3 === 1 ? { role: 'user' } : { disabled: true }),
        ),
      ])
      t.equal(await left(), 1)
    }
  })

  t.test('a list is in order, by pages and by prefix, whatever the script of the names', async (t) => {
    const store = await make(t)
    const names = ['ada', 'adam', 'alan', 'ädel', 'bob', 'ａ', '\u{1f600}', 'z', 'adá', '日本', 'ad']
    for (const name of names) await store.create(accountOf(name))
    const ordered = [...names].sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)))
    const list = async (query: Partial<Parameters<AccountStore['list']>[0]>) =>
      (await store.list({ prefix: '', limit: 100, ...query })).map(({ nameKey }) => nameKey)
    t.same(await list({}), ordered)
    const pages: string[] = []
    for (let after: string | undefined; ; ) {
      const page = await list({ limit: 3, ...(after === undefined ? {} : { after }) })
      pages.push(...page)
      if (page.length < 3) break
      after = page.at(-1)
    }
    t.same(pages, ordered)
    t.same(await list({ prefix: 'ad' }), ['ad', 'ada', 'adam', 'adá'])
    t.same(await list({ prefix: 'ad', after: 'ada', limit: 1 }), ['adam'])
    t.same(await list({ prefix: 'ad', after: 'z' }), [])
    t.same(await list({ prefix: 'ad', after: 'a', limit: 1 }), ['ad'])
    t.same(await list({ prefix: 'zz' }), [])
    await store.update('id-bob', { username: 'adb', nameKey: 'adb' })
    t.same(await list({ prefix: 'ad' }), ['ad', 'ada', 'adam', 'adb', 'adá'])
  })
}

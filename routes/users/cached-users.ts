import type { User } from '../../openapi/schemas/user.ts'
import type { AccountPatch, Accounts, NewAccount } from '../../plugins/accounts/index.ts'
import type { Cache } from '../../plugins/cache/index.ts'

const key = (id: string) => `user:${id}`

/** Accounts read through the cache: one read of the store for many requests, and none that is out of date. */
export function cachedUsers(accounts: Accounts, cache: Cache, ttl: number) {
  class CachedUsers {
    /** `null` when there is none; that is remembered, too, until the account is created here. */
    @cache.cached(ttl, key)
    async get(id: string): Promise<User | null> {
      return (await accounts.get(id)) ?? null
    }

    @cache.invalidatesCache((id: string) => [key(id)])
    update(id: string, patch: AccountPatch): Promise<User> {
      return accounts.update(id, patch)
    }

    @cache.invalidatesCache((id: string) => [key(id)])
    delete(id: string): Promise<void> {
      return accounts.delete(id)
    }

    @cache.invalidatesCache((id: string) => [key(id)])
    create(id: string, account: Omit<NewAccount, 'id'>): Promise<User> {
      return accounts.create({ ...account, id })
    }
  }
  return new CachedUsers()
}

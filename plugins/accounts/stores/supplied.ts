import { storageFailure } from '../../storage/failure.ts'
import type { AccountStore } from '../account-store.ts'

/**
 * A store that the application has brought along: it fails in ways of its own, which are told as those of ours are.
 * @throws STATEFUL_STORAGE_UNAVAILABLE or STATEFUL_STORAGE_FULL with the store's error as `cause`
 */
export function suppliedStore(store: AccountStore): AccountStore {
  const ask = async <T>(question: () => Promise<T>): Promise<T> => {
    try {
      return await question()
    } catch (cause) {
      throw storageFailure(cause, 'accounts')
    }
  }
  return {
    get: (id) => ask(() => store.get(id)),
    findByName: (nameKey) => ask(() => store.findByName(nameKey)),
    create: (account) => ask(() => store.create(account)),
    update: (id, change) => ask(() => store.update(id, change)),
    delete: (id) => ask(() => store.delete(id)),
    list: (query) => ask(() => store.list(query)),
    count: () => ask(() => store.count()),
  }
}

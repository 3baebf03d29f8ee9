import { CheckedDatabase } from '../../storage/lmdb/checked-records.ts'
import type { LmdbStorage } from '../../storage/storage.ts'
import { checkedToken, type StoredToken, type TokenStore } from '../token-store.ts'

/**
 * Access tokens in the embedded database. A change is on disk before it is answered. Not taken from a backup: that could
 * hold one that was revoked since.
 */
export class LmdbTokenStore implements TokenStore {
  readonly #storage: Pick<LmdbStorage, 'root' | 'commits'>
  readonly #byDigest: CheckedDatabase<StoredToken, string>

  constructor(storage: LmdbStorage) {
    this.#storage = storage
    this.#byDigest = new CheckedDatabase(storage, { name: 'tokens' })
  }

  async find(digest: string): Promise<StoredToken | undefined> {
    return this.#byDigest.has(digest) ? checkedToken(() => this.#byDigest.get(digest)) : undefined
  }

  create(token: StoredToken, most: number): Promise<boolean> {
    return this.#durably(() => {
      if (this.#byDigest.raw.getCount() >= most) return false
      this.#byDigest.put(token.digest, token)
      return true
    })
  }

  async list(): Promise<StoredToken[]> {
    return Array.from(this.#byDigest.findRange(), ({ value }) => value)
  }

  revoke(id: string): Promise<boolean> {
    return this.#durably(() => {
      const token = this.#of(id)
      if (token) this.#byDigest.remove(token.digest)
      return token !== undefined
    })
  }

  async touch(id: string, at: number): Promise<void> {
    await this.#durably(() => {
      const token = this.#of(id)
      if (token) this.#byDigest.put(token.digest, { ...token, lastUsedAt: at })
    })
  }

  #of(id: string): StoredToken | undefined {
    for (const { value } of this.#byDigest.findRange()) if (value.id === id) return value
    return undefined
  }

  #durably<T>(change: () => T): Promise<T> {
    const { root, commits } = this.#storage
    return commits.write(async () => {
      const result = await root.transaction(change)
      await root.flushed
      return result
    })
  }
}

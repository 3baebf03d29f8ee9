import type { StoredToken, TokenStore } from '../token-store.ts'

/** Access tokens of this process. Synchronous inside, so that every method is one atomic step. */
export class MemoryTokenStore implements TokenStore {
  readonly #byDigest = new Map<string, StoredToken>()

  async find(digest: string): Promise<StoredToken | undefined> {
    const token = this.#byDigest.get(digest)
    return token && { ...token }
  }

  async create(token: StoredToken, most: number): Promise<boolean> {
    if (this.#byDigest.size >= most) return false
    this.#byDigest.set(token.digest, { ...token })
    return true
  }

  async list(): Promise<StoredToken[]> {
    return Array.from(this.#byDigest.values(), (token) => ({ ...token }))
  }

  async revoke(id: string): Promise<boolean> {
    const token = this.#of(id)
    return token !== undefined && this.#byDigest.delete(token.digest)
  }

  async touch(id: string, at: number): Promise<void> {
    const token = this.#of(id)
    if (token) token.lastUsedAt = at
  }

  #of(id: string): StoredToken | undefined {
    for (const token of this.#byDigest.values()) if (token.id === id) return token
    return undefined
  }
}

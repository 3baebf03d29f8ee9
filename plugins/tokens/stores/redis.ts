import { evenWhenFull, notWhenFull, RedisScript } from '../../storage/redis/script.ts'
import type { RedisStorage } from '../../storage/storage.ts'
import { checkedToken, type StoredToken, type TokenStore } from '../token-store.ts'

const createScript = RedisScript.fromFile(new URL('./create.lua', import.meta.url), notWhenFull)
const revokeScript = RedisScript.fromFile(new URL('./revoke.lua', import.meta.url), evenWhenFull)
const touchScript = RedisScript.fromFile(new URL('./touch.lua', import.meta.url), notWhenFull)

/** Access tokens on Redis, shared by instances: three hashes in one slot. */
export class RedisTokenStore implements TokenStore {
  readonly #client: RedisStorage['client']
  readonly #tokens: string
  readonly #digests: string
  readonly #uses: string

  constructor({ client, prefix }: Pick<RedisStorage, 'client' | 'prefix'>) {
    this.#client = client
    this.#tokens = `${prefix}{tokens}:tokens`
    this.#digests = `${prefix}{tokens}:digests`
    this.#uses = `${prefix}{tokens}:uses`
  }

  async find(digest: string): Promise<StoredToken | undefined> {
    const text = await this.#client.hget(this.#tokens, digest)
    return text === null ? undefined : checkedToken(() => JSON.parse(text))
  }

  async create(token: StoredToken, most: number): Promise<boolean> {
    const { digest, id } = token
    const args = [digest, id, JSON.stringify(token), most]
    return (await createScript.run(this.#client, [this.#tokens, this.#digests], args)) === 1
  }

  async list(): Promise<StoredToken[]> {
    const [tokens, uses] = await Promise.all([this.#client.hgetall(this.#tokens), this.#client.hgetall(this.#uses)])
    return Object.values(tokens).flatMap((text) => {
      try {
        const token = checkedToken(() => JSON.parse(text))
        const used = uses[token.id]
        return used === undefined ? token : { ...token, lastUsedAt: Number(used) }
      } catch {
        // It opens nothing either.
        return []
      }
    })
  }

  async revoke(id: string): Promise<boolean> {
    return (await revokeScript.run(this.#client, [this.#tokens, this.#digests, this.#uses], [id])) === 1
  }

  async touch(id: string, at: number): Promise<void> {
    await touchScript.run(this.#client, [this.#digests, this.#uses], [id, at])
  }
}

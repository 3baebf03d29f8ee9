import type { AuditEntry } from '../../../openapi/schemas/audit.ts'
import { evenWhenFull, RedisScript } from '../../storage/redis/script.ts'
import type { RedisStorage } from '../../storage/storage.ts'
import { type AuditStore, MAX_ENTRIES } from './contract.ts'

// Also when memory is full, which is when somebody makes room: it is an entry in the place of another.
const append = RedisScript.fromFile(new URL('./append.lua', import.meta.url), evenWhenFull)

/** One stream for all instances. */
export class RedisAudit implements AuditStore {
  readonly #storage: RedisStorage
  readonly #key: string

  constructor(storage: RedisStorage) {
    this.#storage = storage
    this.#key = `${storage.prefix}audit`
  }

  async append(entry: AuditEntry): Promise<void> {
    await append.run(this.#storage.client, [this.#key], [JSON.stringify(entry), MAX_ENTRIES])
  }

  async list(): Promise<AuditEntry[]> {
    const found = await this.#storage.client.xrange(this.#key, MAX_ENTRIES)
    return found.reverse().map(([, fields]) => JSON.parse(`${fields[1]}`) as AuditEntry)
  }
}

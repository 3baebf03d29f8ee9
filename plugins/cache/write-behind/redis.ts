import type { RedisStorage } from '../../storage/index.ts'
import type { StreamEntry } from '../../storage/redis/client.ts'
import { evenWhenFull, RedisScript } from '../../storage/redis/script.ts'
import { unique } from '../tier/record.ts'
import type { DeadLetter, Journal, JournalEntry } from './journal.ts'

// What empties the journal: the owner's name, and a letter in the place of a write.
const own = RedisScript.fromFile(new URL('./own.lua', import.meta.url), evenWhenFull)
const bury = RedisScript.fromFile(new URL('./bury.lua', import.meta.url), evenWhenFull)

/**
 * A journal in a Redis stream per writer. How durable an acknowledged write is depends on the server's `appendfsync`.
 * One instance at a time reads, so writes of one key reach the handler in their order.
 */
export class RedisJournal implements Journal {
  readonly #storage: RedisStorage
  readonly #id = unique()

  constructor(storage: RedisStorage) {
    this.#storage = storage
  }

  async append(writer: string, { namespace, key, data }: Omit<JournalEntry, 'id'>): Promise<string> {
    const fields = ['ns', namespace, 'key', key, 'data', Buffer.from(data)]
    return this.#storage.client.xadd(this.#key(writer, 'pending'), fields)
  }

  async read(writer: string, limit: number): Promise<JournalEntry[]> {
    return (await this.#range(this.#key(writer, 'pending'), limit)).map(toEntry)
  }

  async remove(writer: string, ids: readonly string[]): Promise<void> {
    if (ids.length > 0) await this.#storage.client.xdel(this.#key(writer, 'pending'), ids)
  }

  async bury(writer: string, letters: readonly DeadLetter[]): Promise<void> {
    const keys = [this.#key(writer, 'pending'), this.#key(writer, 'dead')]
    const args = letters.flatMap(({ id, namespace, key, data, reason, at }) => [
      ...[id, namespace, key, Buffer.from(data), reason, at],
    ])
    await bury.run(this.#storage.client, keys, args)
  }

  async dead(writer: string, limit: number): Promise<DeadLetter[]> {
    return (await this.#range(this.#key(writer, 'dead'), limit)).map((item) => {
      const fields = toFields(item)
      return {
        ...toEntry(item),
        reason: `${fields.get('reason') ?? ''}`,
        at: Math.trunc(Number(`${fields.get('at')}`)) || 0,
      }
    })
  }

  async discard(writer: string, ids: readonly string[]): Promise<void> {
    if (ids.length > 0) await this.#storage.client.xdel(this.#key(writer, 'dead'), ids)
  }

  async size(writer: string): Promise<{ pending: number; dead: number }> {
    const [pending, dead] = await Promise.all([
      this.#storage.client.xlen(this.#key(writer, 'pending')),
      this.#storage.client.xlen(this.#key(writer, 'dead')),
    ])
    return { pending, dead }
  }

  async own(writer: string, ms: number): Promise<boolean> {
    return (await own.run(this.#storage.client, [this.#key(writer, 'owner')], [this.#id, Math.ceil(ms)])) === 1
  }

  async disown(writer: string): Promise<void> {
    await own.run(this.#storage.client, [this.#key(writer, 'owner')], [this.#id, 0])
  }

  #range(key: string, limit: number): Promise<StreamEntry[]> {
    return this.#storage.client.xrange(key, limit)
  }

  #key(writer: string, part: string): string {
    return `${this.#storage.prefix}cache-journal:{${writer}}:${part}`
  }
}

function toFields([, flat]: StreamEntry): Map<string, Buffer> {
  const fields = new Map<string, Buffer>()
  for (let i = 0; i + 1 < flat.length; i += 2) fields.set(`${flat[i]}`, flat[i + 1] as Buffer)
  return fields
}

function toEntry(item: StreamEntry): JournalEntry {
  const fields = toFields(item)
  return {
    // A dead letter keeps the id that it had as a write.
    id: `${item[0]}`,
    namespace: `${fields.get('ns') ?? ''}`,
    key: `${fields.get('key') ?? ''}`,
    data: fields.get('data') ?? new Uint8Array(),
  }
}

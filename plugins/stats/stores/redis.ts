import type { InstanceStats } from '../../../openapi/schemas/stats.ts'
import { RedisScript } from '../../storage/redis/script.ts'
import type { RedisStorage } from '../../storage/storage.ts'
import { StorageUnavailableError } from '../../support/errors.ts'
import type { Board } from './board.ts'

const publish = RedisScript.fromFile(new URL('./publish.lua', import.meta.url), 1)
const read = RedisScript.fromFile(new URL('./read.lua', import.meta.url), 1)

/** One hash, a field an instance; at most a few kilobytes each, gone when nobody renews them. */
export class RedisBoard implements Board {
  readonly #storage: RedisStorage
  readonly #key: string
  readonly #lifetime: number

  /** @param lifetime how long numbers that are not renewed are still believed, in milliseconds */
  constructor(storage: RedisStorage, lifetime: number) {
    this.#storage = storage
    this.#key = `${storage.prefix}{stats}:instances`
    this.#lifetime = lifetime
  }

  async publish(stats: InstanceStats): Promise<void> {
    const { client, instanceId } = this.#storage
    await answered(publish.run(client, [this.#key], [instanceId, JSON.stringify(stats), this.#lifetime]))
  }

  async others(): Promise<InstanceStats[]> {
    const { client, instanceId } = this.#storage
    const entries = (await answered(read.run(client, [this.#key], [this.#lifetime]))) as string[]
    const others: InstanceStats[] = []
    for (let i = 0; i < entries.length; i += 2) {
      if (entries[i] !== instanceId) others.push(JSON.parse(entries[i + 1] as string) as InstanceStats)
    }
    return others
  }

  async withdraw(): Promise<void> {
    await answered(this.#storage.client.hdel(this.#key, this.#storage.instanceId))
  }
}

async function answered<T>(reply: Promise<T>): Promise<T> {
  try {
    return await reply
  } catch (cause) {
    throw new StorageUnavailableError((cause as Error).message, { cause })
  }
}

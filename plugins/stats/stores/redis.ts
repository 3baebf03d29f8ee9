import type { InstanceStats } from '../../../openapi/schemas/stats.ts'
import { evenWhenFull, RedisScript } from '../../storage/redis/script.ts'
import type { RedisStorage } from '../../storage/storage.ts'
import { nonFinitePlace } from '../../support/json.ts'
import type { Board } from './board.ts'

// Who looks why memory is full needs the numbers; they are some kilobytes an instance, in the place of the last ones.
const publish = RedisScript.fromFile(new URL('./publish.lua', import.meta.url), evenWhenFull)
const read = RedisScript.fromFile(new URL('./read.lua', import.meta.url), evenWhenFull)

/** One hash, a field an instance; at most a few kilobytes each, gone when they are not renewed. */
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
    await publish.run(client, [this.#key], [instanceId, JSON.stringify(stats), this.#lifetime])
  }

  async others(): Promise<InstanceStats[]> {
    const { client, instanceId } = this.#storage
    const entries = (await read.run(client, [this.#key], [this.#lifetime])) as string[]
    const others: InstanceStats[] = []
    for (let i = 0; i < entries.length; i += 3) {
      const stats = entries[i] === instanceId ? undefined : readable(entries[i + 1] as string)
      if (stats) others.push({ ...stats, age: Number(entries[i + 2]) })
    }
    return others
  }

  async withdraw(): Promise<void> {
    await this.#storage.client.hdel(this.#key, [this.#storage.instanceId])
  }
}

/**
 * One that cannot be read, or is of another version, is left out: the numbers of the others are wanted all the same.
 */
function readable(text: string): InstanceStats | undefined {
  try {
    const stats = JSON.parse(text) as Partial<InstanceStats> | null
    if (typeof stats?.instance !== 'string' || typeof stats.at !== 'string') return undefined
    if (!Array.isArray(stats.unavailable) || typeof stats.process !== 'object') return undefined
    return nonFinitePlace(stats) === undefined ? (stats as InstanceStats) : undefined
  } catch {
    return undefined
  }
}

import { notWhenFull, RedisScript } from '../../../storage/redis/script.ts'
import type { RedisStorage } from '../../../storage/storage.ts'
import { isSample, type Sample } from '../sample.ts'
import { type HistoryStore, MAX_SAMPLES, type Resolution } from './contract.ts'

const append = RedisScript.fromFile(new URL('./append.lua', import.meta.url), notWhenFull)

/** A sorted set for each resolution; gone when it has not been added to for as long as it reaches. */
export class RedisHistory implements HistoryStore {
  readonly #storage: RedisStorage

  readonly #most: number

  constructor(storage: RedisStorage, most = MAX_SAMPLES) {
    this.#storage = storage
    this.#most = most
  }

  async append(resolution: Resolution, sample: Sample): Promise<void> {
    const args = [sample.at, JSON.stringify(sample), resolution.reach, this.#most]
    await append.run(this.#storage.client, [this.#key(resolution)], args)
  }

  async read(resolution: Resolution, from: number, to: number): Promise<Sample[]> {
    const texts = await this.#storage.client.zrangebyscore(this.#key(resolution), from, to)
    return texts.map(parsed).filter(isSample)
  }

  #key({ interval }: Resolution): string {
    return `${this.#storage.prefix}{stats}:history:${interval}`
  }
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

import { MAX_DURATION } from '../../support/numbers.ts'
import { evenWhenFull, notWhenFull, RedisScript } from '../redis/script.ts'
import type { RedisStorage } from '../storage.ts'
import { type Beyond, type Count, type Counts, countKey } from './counts.ts'

const add = RedisScript.fromFile(new URL('./add.lua', import.meta.url), notWhenFull)
const read = RedisScript.fromFile(new URL('./read.lua', import.meta.url), evenWhenFull)

/** Counts that instances share: `<prefix>count:<name>:<key>`, which Redis forgets when its window is over. */
export class RedisCounts implements Counts {
  readonly #client: RedisStorage['client']
  readonly #start: string

  constructor({ client, prefix }: RedisStorage, name: string) {
    this.#client = client
    this.#start = `${prefix}count:${name}:`
  }

  async add(key: string, window: number, beyond?: Beyond): Promise<Count> {
    const lasts = Math.min(Math.ceil(window), MAX_DURATION)
    const args = [lasts, beyond?.window ?? '', beyond?.most ?? 0, MAX_DURATION]
    return countOf(await add.run(this.#client, [this.#start + countKey(key)], args))
  }

  async read(key: string): Promise<Count> {
    return countOf(await read.run(this.#client, [this.#start + countKey(key)]))
  }
}

function countOf(answer: unknown): Count {
  const [count, left] = answer as [number, number]
  return { count, left: Math.max(0, left) }
}

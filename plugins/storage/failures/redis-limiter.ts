import { evenWhenFull, notWhenFull, RedisScript } from '../redis/script.ts'
import type { RedisStorage } from '../storage.ts'

const change = RedisScript.fromFile(new URL('./failures.lua', import.meta.url), notWhenFull)
// When memory is full nobody could log in, or be refused.
const read = RedisScript.fromFile(new URL('./failures.lua', import.meta.url), evenWhenFull)

export interface FailureCount {
  consumedPoints: number
  msBeforeNext: number
}

/** Counts that are forgotten after a while, shared by the instances; as rate-limiter-flexible's own for memory. */
export class RedisLimiter {
  readonly #client: RedisStorage['client']
  readonly #prefix: string
  readonly #seconds: number

  constructor(storage: RedisStorage, name: string, seconds: number) {
    this.#client = storage.client
    this.#prefix = `${storage.prefix}${name}:`
    this.#seconds = seconds
  }

  async get(key: string): Promise<FailureCount | null> {
    return toCount(await read.run(this.#client, [this.#prefix + key], ['get']))
  }

  /** One more; the time that a first one is remembered begins now. */
  async penalty(key: string): Promise<FailureCount> {
    return toCount(await change.run(this.#client, [this.#prefix + key], ['add', 1, this.#seconds])) as FailureCount
  }

  async set(key: string, points: number, seconds: number): Promise<void> {
    await change.run(this.#client, [this.#prefix + key], ['set', points, Math.max(1, Math.floor(seconds))])
  }
}

function toCount(answer: unknown): FailureCount | null {
  if (!answer) return null
  const [consumedPoints, msBeforeNext] = answer as [number, number]
  return { consumedPoints, msBeforeNext }
}

import type { RedisClient } from '../../storage/redis/client.ts'
import { evenWhenFull, RedisScript } from '../../storage/redis/script.ts'
import { readText } from '../../support/text.ts'

const headsScript = new RedisScript(evenWhenFull(readText(new URL('./heads.lua', import.meta.url))))

interface Question {
  meta: string
  resolve(head: string): void
  reject(error: unknown): void
}

/** Asks where the logs of all spaces stand that want to know it in the same turn. */
class RedisHeads {
  readonly #client: RedisClient
  #asked: Question[] = []

  constructor(client: RedisClient) {
    this.#client = client
  }

  /** `'<epoch> <revision>'`, or `''` when only reading the log can tell. */
  ask(meta: string, server: 'ask' | 'same'): Promise<string> {
    return new Promise((resolve, reject) => {
      this.#asked.push({ meta, resolve, reject })
      if (this.#asked.length === 1) setImmediate(() => void this.#askAll(server))
    })
  }

  async #askAll(server: 'ask' | 'same'): Promise<void> {
    const asked = this.#asked
    this.#asked = []
    try {
      const groups = asked.map(({ meta }) => [meta])
      const heads = (await headsScript.gather(this.#client, groups, [server])) as string[]
      for (const [i, { resolve }] of asked.entries()) resolve(heads[i] ?? '')
    } catch (error) {
      for (const { reject } of asked) reject(error)
    }
  }
}

const all = new WeakMap<RedisClient, RedisHeads>()

export function headsOf(client: RedisClient): RedisHeads {
  const heads = all.get(client) ?? new RedisHeads(client)
  all.set(client, heads)
  return heads
}

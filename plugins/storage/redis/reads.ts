import type { RedisConnection } from './connection.ts'
import { redisFailure } from './failure.ts'

interface Read {
  key: string
  resolve: (text: string | null) => void
  reject: (error: unknown) => void
}

/** Keys of one command; what is read is small, and others wait behind it. */
const MOST_KEYS = 500

/**
 * Reads of single keys. Those of one turn of the event loop go as one command: what a driver does for a command (an
 * object, a deadline, a promise or two) costs a server under load more than the bytes of the answer.
 */
export class Reads {
  readonly #driver: RedisConnection
  #waiting: Read[] = []

  /** @param driver of one server: on a Cluster keys lie in many slots */
  constructor(driver: RedisConnection) {
    this.#driver = driver
  }

  get(key: string): Promise<string | null> {
    return new Promise((resolve, reject) => {
      if (this.#waiting.push({ key, resolve, reject }) === 1) setImmediate(this.#send)
    })
  }

  readonly #send = (): void => {
    const reads = this.#waiting
    this.#waiting = []
    for (let start = 0; start < reads.length; start += MOST_KEYS) this.#sendSome(reads.slice(start, start + MOST_KEYS))
  }

  #sendSome(reads: Read[]): void {
    const fail = (cause: unknown) => {
      const error = redisFailure(cause)
      for (const { reject } of reads) reject(error)
    }
    const keys = reads.map(({ key }) => key)
    // As a pipeline of its own, which goes at once: the driver's would wait for another turn.
    const pipeline = this.#driver.pipeline()
    const [first] = keys as [string]
    const asked = keys.length === 1 ? pipeline.get(first).exec() : pipeline.mget(keys).exec()
    asked.then((results) => {
      const [error, found] = results?.[0] ?? [new Error('no answer')]
      if (error) return fail(error)
      const texts = (keys.length === 1 ? [found] : found) as (string | null)[]
      for (const [index, { resolve }] of reads.entries()) resolve(texts[index] ?? null)
    }, fail)
  }
}

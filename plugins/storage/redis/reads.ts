import type { RedisConnection } from './connection.ts'
import { redisFailure } from './failure.ts'

/** A class for the same reason as SessionState of the sessions. */
class Read {
  readonly key: string
  readonly resolve: (text: string | null) => void
  readonly reject: (error: unknown) => void

  constructor(key: string, resolve: (text: string | null) => void, reject: (error: unknown) => void) {
    this.key = key
    this.resolve = resolve
    this.reject = reject
  }
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
      if (this.#waiting.push(new Read(key, resolve, reject)) === 1) setImmediate(this.#send)
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
    const answer = (texts: (string | null)[]) => {
      for (const [index, { resolve }] of reads.entries()) resolve(texts[index] ?? null)
    }
    const keys = reads.map(({ key }) => key)
    // Not gathered by the driver as well: that would wait for another turn, and cost twice as much.
    if (keys.length === 1) this.#driver.get(keys[0] as string).then((text) => answer([text]), fail)
    else this.#driver.mget(keys).then(answer, fail)
  }
}

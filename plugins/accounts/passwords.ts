import { randomBytes } from 'node:crypto'
import { OverloadedError } from '../support/errors.ts'
import { missingFor } from '../support/optional-peer.ts'

export interface PasswordsOptions {
  /** Hashes at work at the same time; each takes a processor for tens of milliseconds and 19 MiB. */
  concurrency: number
  /** How many may wait for that; more are refused. */
  queue: number
}

/** Argon2id at OWASP's first recommendation: 19 MiB, two passes, one lane (Password Storage Cheat Sheet). */
const PARAMETERS = { memoryCost: 19_456, timeCost: 2, parallelism: 1 }

/** A native add-on. */
const argon2 = () => import('@node-rs/argon2').catch(missingFor('@node-rs/argon2', 'accounts'))

/** @throws STATEFUL_MISSING_PACKAGE */
export async function loadArgon2(): Promise<void> {
  await argon2()
}

async function hashOf(password: string | Buffer): Promise<string> {
  const { hash } = await argon2()
  return hash(password, PARAMETERS)
}

async function matches(passwordHash: string, password: string): Promise<boolean> {
  const { verify } = await argon2()
  return verify(passwordHash, password)
}

/** Hashes and checks passwords, a bounded number at a time, so that logins cannot starve everything else. */
export class Passwords {
  readonly #concurrency: number
  readonly #queueLimit: number
  readonly #waiting: (() => void)[] = []
  #running = 0
  #dummy: Promise<string> | undefined

  constructor({ concurrency, queue }: PasswordsOptions) {
    this.#concurrency = concurrency
    this.#queueLimit = queue
  }

  /** @throws STATEFUL_OVERLOADED when too many wait */
  hash(password: string): Promise<string> {
    return this.#inTurn(() => hashOf(password))
  }

  /**
   * Without a hash (there is no such user) checks against one that nothing matches, which takes as long.
   * @throws STATEFUL_OVERLOADED when too many wait
   */
  async verify(passwordHash: string | undefined, password: string): Promise<boolean> {
    if (passwordHash !== undefined) return this.#inTurn(() => matches(passwordHash, password))
    this.#dummy ??= hashOf(randomBytes(32))
    const dummy = await this.#dummy
    await this.#inTurn(() => matches(dummy, password))
    return false
  }

  async #inTurn<T>(work: () => Promise<T>): Promise<T> {
    if (this.#running < this.#concurrency) {
      this.#running += 1
    } else {
      if (this.#waiting.length >= this.#queueLimit) throw new OverloadedError()
      // One that ends hands its place over, so that no other can slip in between.
      await new Promise<void>((resolve) => this.#waiting.push(resolve))
    }
    try {
      return await work()
    } finally {
      const next = this.#waiting.shift()
      if (next) next()
      else this.#running -= 1
    }
  }
}

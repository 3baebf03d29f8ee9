import { createHash } from 'node:crypto'
import type { Action } from '../security/access.ts'
import type { Clock } from '../support/clock.ts'
import { InvalidTokenError, TooManyTokensError } from '../support/errors.ts'
import { Listeners } from '../support/listeners.ts'
import { randomText } from '../support/random.ts'
import type { StoredToken, TokenStore } from './token-store.ts'
import type { TokenThrottle } from './token-throttle.ts'

/** What a secret begins with, so that people and scanners of leaked secrets know one. */
export const TOKEN_PREFIX = 'fst_'
/** 256 random bits cannot be guessed, so a fast digest is enough to keep. */
const SECRET_BYTES = 32
const SECRET = /^fst_[\w-]{43}$/
const ID_BYTES = 12
/** How exact `lastUsedAt` is, and how often a use costs a write at most, in milliseconds. */
const TOUCH_INTERVAL = 60_000

/** An access token as it may be shown. */
export interface AccessToken {
  /** Names it; opens nothing. */
  readonly id: string
  readonly name: string
  /** What it may do, and nothing else. */
  readonly scopes: readonly Action[]
  readonly createdAt: Date
  /** Id of the user who made it. */
  readonly createdBy?: string
  /** Absent: it does not expire. */
  readonly expiresAt?: Date
  /** To a minute. Absent: it was never used. */
  readonly lastUsedAt?: Date
}

/** One that was presented, for as long as what it opened lasts. */
export interface PresentedToken extends AccessToken {
  /** Looks at it again: it may have been revoked, or its time be up. Rejects when the store does not answer. */
  check(): Promise<'same' | 'ended'>
}

/** What an access token is made of. */
export interface NewAccessToken {
  /** Says to people what it is for. */
  name: string
  scopes: readonly Action[]
  /** Milliseconds. Default: until it is revoked. */
  lifetime?: number
  /** Id of the user who makes it. */
  createdBy?: string
}

/** Carries revocations to other instances. */
export interface TokenBus {
  publish(id: string): Promise<void>
  listen(onRevoked: (id: string) => void, onMissed: () => void): Promise<void>
  close(): Promise<void>
}

export interface TokensOptions {
  store: TokenStore
  bus?: TokenBus
  throttle: TokenThrottle
  /** How many there may be. */
  most: number
  clock: Clock
  /** Told of errors that belong to no caller. */
  onError: (error: unknown, doing: string) => void
}

/**
 * Access tokens for machines: made by an administrator, shown once, kept as a digest, valid until they expire or are
 * revoked, for what their scopes name.
 *
 * Every method rejects with STATEFUL_STORAGE_UNAVAILABLE when the store does not answer.
 *
 * @example
 * ```ts
 * const { token } = await app.accessTokens.create({ name: 'prometheus', scopes: ['stats:read'] })
 * // curl -H "Authorization: Bearer $token" https://app.example/metrics
 * ```
 */
export class Tokens {
  readonly #options: TokensOptions
  readonly #revoked: Listeners<{ id: string }>
  readonly #missed: Listeners<void>
  /** When a use of each was last recorded here. No more than there are tokens: of others nothing is recorded. */
  readonly #touched = new Map<string, number>()
  readonly #touches = new Set<Promise<void>>()

  constructor(options: TokensOptions) {
    const report = (error: unknown) => options.onError(error, 'a listener')
    this.#options = options
    this.#revoked = new Listeners(report)
    this.#missed = new Listeners(report)
  }

  async start(): Promise<void> {
    await this.#options.bus?.listen(
      (id) => this.#tell(id),
      () => this.#missed.tell(),
    )
  }

  /** Resolves when the uses that are being recorded are. */
  async close(): Promise<void> {
    await this.#options.bus?.close()
    await Promise.all(this.#touches)
  }

  /**
   * Only here is the secret told.
   * @throws STATEFUL_TOO_MANY_TOKENS
   */
  async create({ name, scopes, lifetime, createdBy }: NewAccessToken): Promise<AccessToken & { token: string }> {
    const { store, most, clock } = this.#options
    const token = `${TOKEN_PREFIX}${randomText(SECRET_BYTES)}`
    const createdAt = clock.now()
    const stored: StoredToken = {
      id: randomText(ID_BYTES),
      digest: digestOf(token),
      name,
      scopes: [...new Set(scopes)],
      createdAt,
      ...(createdBy === undefined ? {} : { createdBy }),
      ...(lifetime === undefined ? {} : { expiresAt: createdAt + Math.ceil(lifetime) }),
    }
    if (!(await store.create(stored, most))) throw new TooManyTokensError(most)
    return { ...shown(stored), token }
  }

  /** The newest first; those that have expired too, until they are revoked. */
  async list(): Promise<AccessToken[]> {
    const tokens = await this.#options.store.list()
    return tokens.sort((a, b) => b.createdAt - a.createdAt || (a.id < b.id ? -1 : 1)).map(shown)
  }

  /**
   * Ends a token at once, on every instance, with the live connections that it has opened.
   * @returns whether there was one of that id
   */
  async revoke(id: string): Promise<boolean> {
    if (!(await this.#options.store.revoke(id))) return false
    this.#tell(id)
    // It is revoked, even if no instance hears of it: what is open elsewhere is looked at again before long.
    await this.#options.bus?.publish(id).catch((error) => this.#options.onError(error, 'publishing a revocation'))
    return true
  }

  /**
   * The token of this secret. It is looked up by its digest, so that neither a comparison nor the store tells by its
   * time how much of a guess was right.
   *
   * @param address counted for wrong ones
   * @throws STATEFUL_INVALID_TOKEN, STATEFUL_TOO_MANY_ATTEMPTS with `retryAfter` in seconds
   */
  async open(secret: string, address: string): Promise<PresentedToken> {
    const { throttle } = this.#options
    const digest = digestOf(secret)
    const stored = await throttle.attempt(digest, address, async () => {
      // What cannot be one of ours is not asked for.
      const found = SECRET.test(secret) ? await this.#options.store.find(digest) : undefined
      return found && !this.#isOver(found) ? found : undefined
    })
    if (!stored) throw new InvalidTokenError()
    this.#touch(stored.id)
    return { ...shown(stored), check: () => this.#check(digest) }
  }

  isExpired({ expiresAt }: Pick<AccessToken, 'expiresAt'>): boolean {
    return expiresAt !== undefined && expiresAt.getTime() <= this.#options.clock.now()
  }

  /** `listener` hears of each token that is revoked, on whichever instance. @returns a function that ends it */
  onRevoked(listener: (event: { id: string }) => void): () => void {
    return this.#revoked.add(listener)
  }

  /** `listener` runs when `onRevoked` may have missed some: what relies on a token has to check it. */
  onMissed(listener: () => void): () => void {
    return this.#missed.add(listener)
  }

  async #check(digest: string): Promise<'same' | 'ended'> {
    const stored = await this.#options.store.find(digest)
    return stored && !this.#isOver(stored) ? 'same' : 'ended'
  }

  #isOver({ expiresAt }: StoredToken): boolean {
    return expiresAt !== undefined && expiresAt <= this.#options.clock.now()
  }

  #tell(id: string): void {
    this.#touched.delete(id)
    this.#revoked.tell({ id })
  }

  #touch(id: string): void {
    const { store, clock, onError, most } = this.#options
    const now = clock.now()
    // Also after the clock went back.
    if (Math.abs(now - (this.#touched.get(id) ?? Number.NEGATIVE_INFINITY)) < TOUCH_INTERVAL) return
    // Others may have been revoked elsewhere, unheard.
    if (this.#touched.size >= most) this.#touched.clear()
    this.#touched.set(id, now)
    const touch = store
      .touch(id, now)
      .catch((error) => onError(error, 'recording a use'))
      .finally(() => this.#touches.delete(touch))
    this.#touches.add(touch)
  }
}

function digestOf(secret: string): string {
  return createHash('sha256').update(secret).digest('base64url')
}

function shown({ id, name, scopes, createdAt, createdBy, expiresAt, lastUsedAt }: StoredToken): AccessToken {
  return {
    id,
    name,
    scopes,
    createdAt: new Date(createdAt),
    ...(createdBy === undefined ? {} : { createdBy }),
    ...(expiresAt === undefined ? {} : { expiresAt: new Date(expiresAt) }),
    ...(lastUsedAt === undefined ? {} : { lastUsedAt: new Date(lastUsedAt) }),
  }
}

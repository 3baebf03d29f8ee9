import type { CacheNamespace, LoadContext } from '../cache/index.ts'
import { randomText } from '../support/random.ts'
import { type CachedAnswer, type Entry, isVariants, type Variants } from './answer.ts'
import { acceptsStale, judge, leftAt, type Wishes } from './freshness.ts'

/** What a request asks the cache for. */
export interface Asked {
  /** Key of the resource. */
  resource: string
  /** Request headers by which the route tells answers apart. */
  named: readonly string[]
  /** The key of the answer that this request would get of several. */
  variant(variants: Variants): string
  tags: string[]
  wishes: Wishes
}

/** The right to make an answer that others wait for. */
export interface Fill {
  key: string
  /** Stale, to be confirmed or to stand in. */
  stored: CachedAnswer | undefined
  /** The answer, for the cache and for those who wait; without one they make their own. Only the first call counts. */
  settle(answer: CachedAnswer | undefined): void
}

export type Finding =
  /** It is there, or another request has made it. */
  | { what: 'use'; answer: CachedAnswer }
  /** This request makes it. */
  | { what: 'make'; fill: Fill }
  /** This request makes one for itself alone, maybe by having its maker confirm what is stored. */
  | { what: 'alone'; key: string; stored: CachedAnswer | undefined }

/** For how long the variants of a resource are found; each of them has its own time. */
const VARIANTS_TTL = 86_400_000
/** More than any answer is kept stale for: how long it is kept is said with each. */
const ANY_STALE = 2 ** 31 * 1_000
/** How long a request that may be given a stale answer waits to be told that it is the one to make the new one. */
const TURN = 1_000
/** For how long a handler that has failed is not asked again, while a stale answer may stand in. */
const RETRY = 1_000

/**
 * The answers of a namespace. Under the key of a resource lies its answer, or, when request headers tell several
 * apart, {@link Variants}: their names and a nonce, which is part of the keys of the answers themselves. So a
 * change of a resource deletes one key, and none of its answers is found again, nor one that is being made meanwhile.
 *
 *     GET /a  ─ answer
 *     GET /b  ─ { vary: ['accept-language'], nonce: 'x1' } ─┬─ x1, de ─ answer
 *                                                           └─ x1, en ─ answer
 */
export class Answers {
  readonly #cache: CacheNamespace
  readonly #now: () => number

  /** @param now wall clock, ms */
  constructor(cache: CacheNamespace, now: () => number) {
    this.#cache = cache
    this.#now = now
  }

  now(): number {
    return this.#now()
  }

  /** What is there and needs no renewal, without waiting for anybody. */
  async held(asked: Asked): Promise<{ key: string; answer: CachedAnswer } | undefined> {
    const get = (key: string) => this.#cache.get<Entry>(key)
    const entry = await get(asked.resource)
    if (entry === undefined) return undefined
    if (!isVariants(entry)) return { key: asked.resource, answer: entry }
    const key = asked.variant(entry)
    const answer = await get(key)
    return answer === undefined || isVariants(answer) ? undefined : { key, answer }
  }

  /**
   * Finds an answer, waits for one that another request makes, or says that it is on this request to make it.
   * @param gone whether the client has gone: who is not there makes no answer
   */
  async find(asked: Asked, gone: () => boolean): Promise<Finding> {
    const { resource, named } = asked
    let found: Found = named.length > 0 ? await this.#variants(asked) : await this.#obtain(resource, [], asked, gone)
    if (found.what !== 'variants') return found
    const { variants } = found
    found = await this.#obtain(asked.variant(variants), variants.vary, asked, gone)
    return found.what === 'variants' ? { what: 'alone', key: resource, stored: undefined } : found
  }

  /** Forgets an answer that its maker has not confirmed. */
  async drop(key: string): Promise<void> {
    await this.#cache.delete(key)
  }

  async #variants({ resource, named }: Asked): Promise<Found> {
    const made = () => ({ vary: [...named], nonce: nonce() })
    const entry = await this.#cache.getOrSet<Entry>(resource, made, { ttl: VARIANTS_TTL })
    if (isVariants(entry)) return { what: 'variants', variants: entry }
    return { what: 'alone', key: resource, stored: undefined }
  }

  async #obtain(key: string, names: readonly string[], asked: Asked, gone: () => boolean): Promise<Found> {
    let stored: CachedAnswer | undefined
    for (const stale of [ANY_STALE, undefined]) {
      const entry = await this.#ask({ key, names, asked, stale, stored }, gone)
      if (entry === undefined) break
      if ('settle' in entry) return { what: 'make', fill: entry }
      if (isVariants(entry)) return { what: 'variants', variants: entry }
      const verdict = judge(entry, asked.wishes, this.#now())
      if (verdict === 'serve' || verdict === 'renew') return { what: 'use', answer: entry }
      stored = entry
      if (verdict === 'validate') break
      // Another request is renewing it, and it may not be served meanwhile: the second time without stale ones.
    }
    return { what: 'alone', key, stored }
  }

  /**
   * What is there or is being made; a {@link Fill} when it is on this request; `undefined` when nothing comes of it.
   */
  #ask({ key, names, asked, stale, stored }: Ask, gone: () => boolean): Promise<Entry | Fill | undefined> {
    return new Promise((resolve) => {
      let chosen = false
      const choose = (entry: Entry | Fill | undefined) => {
        chosen = true
        resolve(entry)
      }
      const load = (context: LoadContext) =>
        new Promise<Entry | undefined>((fill) => {
          const before = context.staleValue as Entry | undefined
          const old = stored ?? (before && !isVariants(before) ? before : undefined)
          const takesStale = old !== undefined && acceptsStale(old, asked.wishes, this.#now())
          // Who has been answered, or has gone, makes no answer any more, so no request may wait for it.
          if (chosen || gone() || takesStale) {
            fill(undefined)
            choose(takesStale ? old : undefined)
            return
          }
          let settled = false
          const settle = (answer: CachedAnswer | undefined) => {
            if (settled) return
            settled = true
            if (answer === undefined) fill(undefined)
            else this.#store(answer, { key, names, asked }, context).then(fill, () => fill(undefined))
          }
          choose({ key, stored: old, settle })
        })
      const options = { tags: asked.tags, early: 0, ...(stale === undefined ? {} : { stale, softTimeout: TURN }) }
      const loaded = async () => this.#cache.getOrSet<Entry | undefined>(key, load, options)
      // When it fails, the loader was somebody else's, a tag is none, or there is no cache: this request makes its own.
      loaded().then(choose, () => choose(undefined))
    })
  }

  /** Resolves to what is stored under the key of the fill. */
  async #store(
    answer: CachedAnswer,
    { key, names, asked }: Pick<Ask, 'key' | 'names' | 'asked'>,
    context: LoadContext,
  ) {
    const { ttl, stale } = timesOf(answer, this.#now())
    const vary = [...new Set([...names, ...answer.vary])].sort()
    if (vary.length === names.length) {
      context.setTtl(ttl, stale)
      return answer
    }
    const variants: Variants = { vary, nonce: nonce() }
    if (key !== asked.resource) {
      // Its maker names more than before: from now on the answers are told apart by all of it.
      await this.#cache.set(asked.resource, variants, { ttl: VARIANTS_TTL })
      return undefined
    }
    // It cannot be found before the variants are there, and they are refused if the resource has changed meanwhile.
    await this.#cache.set(asked.variant(variants), answer, { ttl, tags: asked.tags, ...(stale > 0 ? { stale } : {}) })
    context.setTtl(VARIANTS_TTL, 0)
    return variants
  }
}

type Found = Finding | { what: 'variants'; variants: Variants }

interface Ask {
  key: string
  /** Request headers that the key holds. */
  names: readonly string[]
  asked: Asked
  /** Whether a stale answer is taken, and for how long after its time. */
  stale: number | undefined
  stored: CachedAnswer | undefined
}

const nonce = (): string => randomText(12)

/** For how long an answer is taken for the one to use, and for how long after that it is kept; ms. */
function timesOf(answer: CachedAnswer, now: number): { ttl: number; stale: number } {
  const { validate, keepFor } = answer.terms
  const left = leftAt(answer, now)
  if (answer.failed) return { ttl: RETRY, stale: Math.max(0, keepFor + left - RETRY) }
  // One that its maker has to confirm each time is not renewed under a lease: no request would wait for another's.
  if (validate) return { ttl: Math.max(1, keepFor), stale: 0 }
  return { ttl: Math.max(1, left), stale: keepFor }
}

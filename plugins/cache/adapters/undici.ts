import { createHash } from 'node:crypto'
import { Writable } from 'node:stream'
import { MAX_DURATION } from '../../support/numbers.ts'
import type { CacheNamespace } from '../namespace.ts'

type Headers = Record<string, string | string[]>
type Vary = Record<string, string | string[] | null>

/** As undici's own type. */
interface CacheKey {
  origin: string
  method: string
  path: string
  headers?: Headers
}

/** As undici's own type; times in milliseconds since 1970. */
interface CacheValue {
  statusCode: number
  statusMessage: string
  headers: Headers
  vary?: Vary
  etag?: string
  cacheControlDirectives?: object
  cachedAt: number
  staleAt: number
  deleteAt: number
}

interface Stored extends CacheValue {
  body: Buffer
}

/** By which request headers answers of a URL are told apart, and how long the last of them is kept. */
interface Index {
  until: number
  varies: string[][]
}

/** Options of {@link UndiciCacheStore}. */
export interface UndiciCacheStoreOptions {
  /** Bytes of the largest body that is kept. Default 5 MiB, as of undici's own store. */
  maxEntrySize?: number
  /** Told of deletions that the cache has refused: undici does not ask. */
  onError?: (error: unknown) => void
}

/** Kinds of `Vary` of one URL; the oldest gives way. */
const MOST_VARIES = 16

/**
 * A cache store for undici 7's cache interceptor over a namespace of the cache: what one instance has fetched the
 * others need not, and what an unsafe method has invalidated is gone for all. Of several answers that fit the newest is
 * given. While Redis is away reads are misses, and nothing is kept.
 *
 * @example
 * const store = new UndiciCacheStore(app.cache.namespace('fetched'))
 * const client = new Agent().compose(interceptors.cache({ store }))
 */
export class UndiciCacheStore {
  readonly #cache: CacheNamespace
  readonly #maxEntrySize: number
  readonly #onError: (error: unknown) => void
  /** What is under way, by its URL: who asks after the end of it sees what it has done. */
  readonly #writing = new Map<string, Set<Writing>>()
  readonly #deleting = new Map<string, Promise<void>>()

  constructor(cache: CacheNamespace, options: UndiciCacheStoreOptions = {}) {
    this.#cache = cache
    this.#maxEntrySize = options.maxEntrySize ?? 5 * 2 ** 20
    this.#onError = options.onError ?? (() => {})
  }

  /** The answer for this request, `undefined` when there is none. */
  async get(key: CacheKey) {
    const url = urlTag(key)
    await this.#deleting.get(url)
    for (const { stream, done } of this.#writing.get(url) ?? []) if (stream.writableEnded) await done
    const index = indexKey(key)
    const known = await this.#cache.get<Index>(index)
    if (known === undefined) return undefined
    const found = await this.#cache.getMany<Stored>(known.varies.map((names) => variantKey(index, names, key.headers)))
    const now = Date.now()
    let newest: Stored | undefined
    for (const each of found.values()) {
      if (each.deleteAt > now && (newest === undefined || each.cachedAt > newest.cachedAt)) newest = each
    }
    if (newest === undefined) return undefined
    const { body, headers, cacheControlDirectives = {}, ...rest } = newest
    // The first level has the very objects.
    return { ...rest, headers: { ...headers }, cacheControlDirectives: { ...cacheControlDirectives }, body: [body] }
  }

  /** Keeps the answer when the stream has ended, unless it was destroyed before or became too large. */
  createWriteStream(key: CacheKey, value: CacheValue): Writable {
    const chunks: Buffer[] = []
    let size = 0
    const store = this
    const stream = new Writable({
      write(chunk: Buffer, _encoding, callback) {
        size += chunk.length
        if (size > store.#maxEntrySize) this.destroy()
        else chunks.push(chunk)
        callback()
      },
      final(callback) {
        // A chunk is part of what undici reads into, which would be kept with it.
        store.#put(key, { ...value, body: Buffer.concat(chunks) }, writing).then(() => callback(), callback)
      },
    })
    const writing = this.#track(urlTag(key), stream)
    return stream
  }

  /**
   * Answers of all methods for the URL are gone. Never rejects: undici would not catch it. Its `onError` is told, and
   * the cache's option `outage.invalidations: 'journal'` keeps what could not be done.
   */
  async delete(key: CacheKey): Promise<void> {
    const url = urlTag(key)
    // They come from before.
    for (const writing of this.#writing.get(url) ?? []) writing.outdated = true
    const deleting = this.#cache.invalidateTags(url).catch(this.#onError)
    this.#deleting.set(url, deleting)
    await deleting
    if (this.#deleting.get(url) === deleting) this.#deleting.delete(url)
  }

  async #put(key: CacheKey, value: Stored, writing: Writing): Promise<void> {
    const index = indexKey(key)
    const known = await this.#cache.get<Index>(index)
    const now = Date.now()
    if (writing.outdated || value.deleteAt <= now) return
    const names = Object.keys(value.vary ?? {}).sort()
    const others = (known?.varies ?? []).filter((others) => others.join() !== names.join())
    const tags = [urlTag(key)]
    const set = (key: string, value: unknown, until: number) =>
      this.#cache.set(key, value, { ttl: Math.min(until - now, MAX_DURATION), tags })
    const writes = [set(variantKey(index, names, value.vary), value, value.deleteAt)]
    if (!known || known.until < value.deleteAt || others.length === known.varies.length) {
      const until = Math.max(value.deleteAt, known?.until ?? 0)
      writes.push(set(index, { until, varies: [names, ...others].slice(0, MOST_VARIES) }, until))
    }
    await Promise.all(writes)
  }

  #track(url: string, stream: Writable): Writing {
    const done = new Promise<void>((resolve) => stream.once('close', () => resolve()))
    const writing: Writing = { stream, done, outdated: false }
    const all = this.#writing.get(url) ?? new Set()
    this.#writing.set(url, all.add(writing))
    stream.once('close', () => {
      all.delete(writing)
      if (all.size === 0 && this.#writing.get(url) === all) this.#writing.delete(url)
    })
    return writing
  }
}

/** An answer that arrives. */
interface Writing {
  readonly stream: Writable
  readonly done: Promise<void>
  /** The URL was invalidated since it began. */
  outdated: boolean
}

const hash = (...parts: unknown[]): string => createHash('sha256').update(JSON.stringify(parts)).digest('base64url')

const urlTag = ({ origin, path }: CacheKey): string => hash(origin, path)
const indexKey = ({ origin, path, method }: CacheKey): string => `index:${hash(origin, path, method)}`

/** Of the answer for requests with these headers. */
function variantKey(index: string, names: readonly string[], headers: Vary = {}): string {
  return `answer:${hash(index, ...names.map((name) => [name, headers[name] ?? null]))}`
}

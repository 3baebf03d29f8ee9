import type { RedisStorageOptions } from '../../storage/index.ts'
import { MAX_DURATION } from '../../support/numbers.ts'
import type { CacheNamespace } from '../namespace.ts'
import type { CacheOptions } from '../options.ts'
import { storedKey } from './stored-key.ts'

/** As Next's own type: `timestamp` in milliseconds since 1970, the others in seconds. */
interface NextCacheEntry {
  value: ReadableStream<Uint8Array>
  tags: string[]
  stale: number
  timestamp: number
  expire: number
  revalidate: number
}

interface Stored extends Omit<NextCacheEntry, 'value'> {
  value: Buffer
}

/** When what carries a tag became, or will be, out of date; milliseconds since 1970. */
interface TagTimes {
  /** Served once more, while it is made again. */
  stale?: number
  /** Not served any more. */
  expired?: number
}

/** Options of {@link nextCacheHandler}. */
export interface NextCacheHandlerOptions {
  /** Where the instances of the application meet: `redis://…`, or Redis with options. */
  storage: string | RedisStorageOptions
  /** Of the cache. Default `'next'`. */
  namespace?: string
  /** See docs/cache.md. */
  cache?: CacheOptions
  /** Told of what Next does not wait for: an entry that could not be kept, a storage that could not be opened. */
  onError?: (error: unknown) => void
}

/** How long a storage that could not be opened is not tried again. */
const PAUSE = 1_000

/**
 * One of the `cacheHandlers` of Next.js 16, for `'use cache'`: all instances of the application have one cache, and
 * `revalidateTag`, `updateTag` and `revalidatePath` on one of them count for all, from the next request on. It opens the
 * storage at its first use, since Next loads it while it builds, too.
 *
 * While Redis is away everything is rendered again, nothing is kept, and a revalidation rejects: what was not confirmed
 * may still be served elsewhere.
 *
 * @example
 * // cache-handler.mjs
 * export default nextCacheHandler({ storage: process.env.REDIS_URL })
 * // next.config.mjs
 * export default { cacheComponents: true, cacheHandlers: { default: import.meta.resolve('./cache-handler.mjs') } }
 */
export function nextCacheHandler(options: NextCacheHandlerOptions) {
  const { onError = () => {} } = options
  /** Entries that are being stored: who asks for one of them waits for it. */
  const storing = new Map<string, Promise<void>>()
  let opened: ReturnType<typeof open> | undefined

  function opening(): ReturnType<typeof open> {
    if (opened) return opened
    const attempt = open(options)
    opened = attempt
    attempt.catch((error) => {
      onError(error)
      setTimeout(() => {
        if (opened === attempt) opened = undefined
      }, PAUSE).unref()
    })
    return attempt
  }

  /** `undefined` while there is none: readers go on without. */
  const reachable = (): Promise<CacheNamespace | undefined> =>
    opening().then(
      ({ namespace }) => namespace,
      () => undefined,
    )

  async function timesOf(cache: CacheNamespace, tags: readonly string[]): Promise<TagTimes[]> {
    return [...(await cache.getMany<TagTimes>(tags.map(tagKey))).values()]
  }

  async function store(key: string, pending: Promise<NextCacheEntry>): Promise<void> {
    const { value, tags, stale, timestamp, expire, revalidate } = await pending
    // One that is not kept is read all the same: the stream is ours.
    const stored: Stored = { value: await bytesOf(value), tags, stale, timestamp, expire, revalidate }
    const ttl = Math.min(timestamp + expire * 1_000 - Date.now(), MAX_DURATION)
    if (ttl <= 0) return
    const { namespace } = await opening()
    await namespace.set(entryKey(key), stored, { ttl, tags: tags.map(tagKey) })
  }

  return {
    /** The entry with a stream of its own; `undefined` when there is none or one of its tags has expired. */
    async get(cacheKey: string): Promise<NextCacheEntry | undefined> {
      await storing.get(cacheKey)
      const cache = await reachable()
      const stored = await cache?.get<Stored>(entryKey(cacheKey))
      if (cache === undefined || stored === undefined) return undefined
      const now = Date.now()
      const times = await timesOf(cache, stored.tags)
      if (times.some(({ expired = 0 }) => expired <= now && expired > stored.timestamp)) return undefined
      const isStale = times.some(({ stale = 0 }) => stale > stored.timestamp)
      return { ...stored, revalidate: isStale ? -1 : stored.revalidate, value: streamOf(stored.value) }
    },

    /** Keeps the entry when its stream has ended, not when it breaks off. Never rejects: Next would not catch it. */
    async set(cacheKey: string, pendingEntry: Promise<NextCacheEntry>): Promise<void> {
      const done = store(cacheKey, pendingEntry).catch(onError)
      storing.set(cacheKey, done)
      await done
      if (storing.get(cacheKey) === done) storing.delete(cacheKey)
    },

    /** Before the first read of a request: what other instances have revalidated is known from here on. */
    async refreshTags(): Promise<void> {
      await (await reachable())?.proveCoherence()
    },

    /** When the latest of the tags was expired, 0 for never. */
    async getExpiration(tags: string[]): Promise<number> {
      const cache = await reachable()
      const times = cache ? await timesOf(cache, tags) : []
      return Math.max(0, ...times.map(({ expired = 0 }) => expired))
    },

    /**
     * Without `durations` what carries one of the tags is gone; with them it is stale, and gone after `expire` seconds.
     * @throws STATEFUL_CACHE_STORE_UNAVAILABLE, STATEFUL_STORAGE_UNAVAILABLE
     */
    async updateTags(tags: string[], durations?: { expire?: number }): Promise<void> {
      const { namespace } = await opening()
      const now = Date.now()
      const known = durations ? await namespace.getMany<TagTimes>(tags.map(tagKey)) : undefined
      const times = (key: string): TagTimes => {
        if (durations === undefined) return { expired: now }
        const { expire } = durations
        return { ...known?.get(key), stale: now, ...(expire === undefined ? {} : { expired: now + expire * 1_000 }) }
      }
      await namespace.setMany(
        tags.map((tag) => [tagKey(tag), times(tagKey(tag))] as const),
        { ttl: MAX_DURATION },
      )
      if (durations === undefined) await namespace.invalidateTags(tags.map(tagKey))
    },

    /** Ends what it has opened; for tests and servers of one's own. */
    async close(): Promise<void> {
      await (await opened?.catch(() => undefined))?.close()
    },
  }
}

const entryKey = (key: string): string => storedKey(`entry:${key}`)
const tagKey = (tag: string): string => storedKey(`tag:${tag}`)

/** What a process needs that has no Fastify; loaded when it is needed. */
async function open({
  storage: target,
  namespace = 'next',
  cache: cacheOptions = {},
  onError,
}: NextCacheHandlerOptions) {
  const [{ Cache, cacheParts }, { openStorage }] = await Promise.all([
    import('../cache.ts'),
    import('../../storage/index.ts'),
  ])
  const storage = await openStorage(target)
  const parts = await cacheParts(storage, cacheOptions)
  const cache = new Cache({ ...parts, ...(onError ? { onError } : {}) }, cacheOptions)
  await cache.start()
  return {
    namespace: cache.namespace(namespace),
    async close() {
      await cache.close()
      await storage.close()
    },
  }
}

async function bytesOf(stream: ReadableStream<Uint8Array>): Promise<Buffer> {
  const chunks: Uint8Array[] = []
  const reader = stream.getReader()
  for (let part = await reader.read(); !part.done; part = await reader.read()) chunks.push(part.value)
  return Buffer.concat(chunks)
}

function streamOf(bytes: Uint8Array): ReadableStream<Uint8Array> {
  return new ReadableStream({
    start(controller) {
      // The first level has the very bytes.
      if (bytes.length > 0) controller.enqueue(Uint8Array.from(bytes))
      controller.close()
    },
  })
}

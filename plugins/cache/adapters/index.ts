/**
 * What lets other packages keep their things in the cache and the storage of an application. None of them is loaded by
 * this, nor does one adapter need the package of another.
 */
export { betterAuthStorage } from './better-auth.ts'
export { KeyvStore } from './keyv.ts'
export { KeyvStore6 } from './keyv-6.ts'
export { type NextCacheHandlerOptions, nextCacheHandler } from './next.ts'
export { type RateLimitStore, rateLimitStore } from './rate-limit.ts'
export { UndiciCacheStore, type UndiciCacheStoreOptions } from './undici.ts'
export { type UnstorageDriverOptions, unstorageDriver } from './unstorage.ts'

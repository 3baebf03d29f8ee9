import type { Test } from 'tap'
import { Cache, type CacheOptions, cacheParts } from '../../../plugins/cache/index.ts'
import { openStorage, type Storage } from '../../../plugins/storage/index.ts'
import { type StorageKind, storageUrl } from '../../fixtures/storages.ts'

/** A started cache on a storage that other instances may share; all closed at teardown. */
export async function startCache(t: Test, target: string | Storage, options: CacheOptions = {}): Promise<Cache> {
  const storage = typeof target === 'string' ? await openStorage(target) : target
  const cache = new Cache(await cacheParts(storage, options), options)
  await cache.start()
  t.teardown(async () => {
    await cache.close()
    if (typeof target === 'string') await storage.close()
  })
  return cache
}

export async function freshCache(t: Test, kind: StorageKind, options: CacheOptions = {}): Promise<Cache> {
  return startCache(t, await storageUrl(t, kind), options)
}

/** A promise to settle by hand. */
export function deferred<T = void>() {
  let resolve!: (value: T) => void
  let reject!: (error: Error) => void
  const promise = new Promise<T>((yes, no) => {
    resolve = yes
    reject = no
  })
  return { promise, resolve, reject }
}

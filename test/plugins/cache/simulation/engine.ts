import { Cache } from '../../../../plugins/cache/cache.ts'
import { LocalTier } from '../../../../plugins/cache/tier/local.ts'
import { MemoryJournal } from '../../../../plugins/cache/write-behind/memory.ts'

/** What is put to the test: the real engine, or a copy in which a guard was taken out. */
export interface Engine {
  Cache: typeof Cache
  LocalTier: typeof LocalTier
  MemoryJournal: typeof MemoryJournal
}

export const realEngine: Engine = { Cache, LocalTier, MemoryJournal }

/** A copy in this folder, which is JavaScript. */
export async function engineIn(folder: string): Promise<Engine> {
  const load = (file: string) => import(`${folder}/${file}`)
  const [{ Cache }, { LocalTier }, { MemoryJournal }] = await Promise.all([
    load('plugins/cache/cache.js'),
    load('plugins/cache/tier/local.js'),
    load('plugins/cache/write-behind/memory.js'),
  ])
  return { Cache, LocalTier, MemoryJournal }
}

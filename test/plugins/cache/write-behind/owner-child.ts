/** Leaves a write behind: before it hands anything over, or while its handler is at it. Says when. */
import { Cache, cacheParts } from '../../../../plugins/cache/index.ts'
import { openStorage } from '../../../../plugins/storage/index.ts'

const [, , url, when] = process.argv
const storage = await openStorage(url as string)
const before = when === 'before it has begun'
const cache = new Cache(await cacheParts(storage), { writeBehind: { delay: before ? '1h' : 1 } })
await cache.start()
const say = () => process.stdout.write('now\n')
cache.writeBehind('w', () => {
  say()
  return new Promise(() => {})
})
await cache.setWithDelayedPersist('k', 1, { writer: 'w' })
if (before) say()

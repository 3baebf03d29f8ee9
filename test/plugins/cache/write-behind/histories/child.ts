/**
 * An instance that writes numbers until it is killed, and tells each one that was acknowledged: `<key> <number>`. Its
 * handler persists into a hash of the same Redis, slowly, and notes what came after something newer.
 */
import { Redis } from 'ioredis'
import { Cache, cacheParts } from '../../../../../plugins/cache/index.ts'
import { openStorage } from '../../../../../plugins/storage/index.ts'
import { seededRandom } from '../../../../fixtures/random.ts'
import { type Numbered, persist } from './real-source.ts'

const [, , url, name, seed] = process.argv as [string, string, string, string, string]
const random = seededRandom(Number(seed))
const storage = await openStorage(url)
const source = new Redis(url)
const cache = new Cache(await cacheParts(storage), {
  writeBehind: { delay: 5, batch: 3, lease: 300, takeover: 100, backoff: 10 },
})
await cache.start()
cache.writeBehind('default', async (writes, { signal }) => {
  await new Promise((resolve) => setTimeout(resolve, random.integer(0, 40)))
  if (random.chance(0.1)) throw new Error('not now')
  signal.throwIfAborted()
  await persist(source, writes as never)
})
for (let n = 1; ; n++) {
  const key = `k${random.integer(0, 4)}`
  const value: Numbered = { by: name, n }
  await cache.setWithDelayedPersist(key, value, { ttl: random.integer(5, 200) })
  process.stdout.write(`${key} ${n}\n`)
  if (random.chance(0.3)) await cache.delete(key)
  if (random.chance(0.3)) await new Promise((resolve) => setTimeout(resolve, random.integer(0, 10)))
}

/** Writes numbers until it is killed, and tells each one that was acknowledged. Its handler never gets to run. */
import { Cache, cacheParts } from '../../../../plugins/cache/index.ts'
import { openStorage } from '../../../../plugins/storage/index.ts'

const storage = await openStorage(process.argv[2] as string)
const cache = new Cache(await cacheParts(storage), { writeBehind: { delay: '1h' } })
await cache.start()
cache.writeBehind('default', () => Promise.reject(new Error('never')))
for (let n = 1; ; n++) {
  await cache.setWithDelayedPersist(`key${n % 10}`, n)
  process.stdout.write(`${n}\n`)
}

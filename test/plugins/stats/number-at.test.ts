import t from 'tap'
import { numberAt } from '../../../plugins/stats/number-at.ts'

t.test('numbers are found by their path', async (t) => {
  const stats = { cache: { lookups: 3, tier: 'lmdb' } }
  t.equal(numberAt(stats, 'cache.lookups'), 3)
  for (const path of ['cache.tier', 'cache.nothing', 'sync.connections', 'cache.lookups.more']) {
    t.equal(numberAt(stats, path), undefined, path)
  }
  t.equal(numberAt(undefined, 'cache.lookups'), undefined)
})

import { setTimeout as delay } from 'node:timers/promises'
import t from 'tap'
import { openTier } from '../../../../plugins/cache/tier/open.ts'
import { openStorage } from '../../../../plugins/storage/index.ts'
import { systemClock } from '../../../../plugins/support/clock.ts'
import { ManualClock } from '../../../../plugins/support/manual-clock.ts'
import { onEveryStorage, storageUrl } from '../../../fixtures/storages.ts'
import { cacheTierSuite } from '../../../suites/cache-tier.ts'

t.test('cache tier', (t) =>
  onEveryStorage(t, async (t, kind) => {
    // One server for all Redis cases; each case gets a prefix of its own.
    const shared = kind === 'redis' ? await storageUrl(t, kind) : undefined
    let cases = 0
    cacheTierSuite(t, async (t) => {
      const storage = await openStorage(shared ? { url: shared, prefix: `case${cases++}:` } : await storageUrl(t, kind))
      t.teardown(() => storage.close())
      // Redis keeps time itself.
      const clock = kind === 'redis' ? systemClock : new ManualClock()
      const tier = await openTier(storage, clock, { maxEntries: 1_000, maxBytes: 1_000_000 })
      t.teardown(() => tier.close())
      return {
        tier,
        async pass(ms) {
          if (clock instanceof ManualClock) clock.advance(ms)
          else await delay(ms)
        },
      }
    })
  }),
)

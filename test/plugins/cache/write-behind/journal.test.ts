import t from 'tap'
import { openJournal, openTier } from '../../../../plugins/cache/tier/open.ts'
import { systemClock } from '../../../../plugins/support/clock.ts'
import { onEveryStorage, openTestStorage, storageUrl } from '../../../fixtures/storages.ts'
import { journalContract } from '../../../suites/journal.ts'

t.test('the contract of a journal', (t) =>
  onEveryStorage(t, async (t, kind) => {
    const storage = await openTestStorage(t, await storageUrl(t, kind))
    const tier = await openTier(storage, systemClock, { maxEntries: 100, maxBytes: 100_000 })
    t.teardown(() => tier.close())
    const here = await openJournal(storage, tier, systemClock)
    await journalContract(t, here, kind === 'redis' ? await openJournal(storage, tier, systemClock) : here)
  }),
)

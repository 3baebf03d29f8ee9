import t from 'tap'
import { openStateLog } from '../../../../plugins/state/log/open.ts'
import { onEveryStorage, openTestStorage, storageUrl } from '../../../fixtures/storages.ts'
import { stateLogSuite } from '../../../suites/state-log.ts'

t.test('the contract of a state log', (t) =>
  onEveryStorage(t, async (t, kind) => {
    const storage = await openTestStorage(t, await storageUrl(t, kind))
    const retention = 8
    const historyBytes = 1_600_000
    await stateLogSuite(t, {
      open: async (space) => openStateLog(storage, space, { commits: retention, bytes: historyBytes }),
      durable: kind !== 'memory',
      retention,
      historyBytes,
    })
  }),
)

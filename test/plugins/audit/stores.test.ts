import t from 'tap'
import { openAudit } from '../../../plugins/audit/stores/open.ts'
import { openStorage } from '../../../plugins/storage/index.ts'
import { onEveryStorage, openTestStorage, storageUrl } from '../../fixtures/storages.ts'
import { auditSuite } from '../../suites/audit.ts'

t.test('every storage', (t) =>
  onEveryStorage(t, (t, kind) =>
    auditSuite(t, async (t) => openAudit(await openTestStorage(t, await storageUrl(t, kind)))),
  ),
)

t.test('it outlives a restart', (t) =>
  onEveryStorage(t, async (t, kind) => {
    if (kind === 'memory') return
    const url = await storageUrl(t, kind)
    const before = await openStorage(url)
    const entry = { at: 1, action: 'stats:reset', by: 'admin', byToken: false, resources: [], status: 204 } as const
    await openAudit(before).append({ ...entry, resources: [] })
    await before.close()
    const store = openAudit(await openTestStorage(t, url))
    t.same(await store.list(), [entry])
    await store.append({ ...entry, at: 2, resources: [] })
    t.same(
      (await store.list()).map(({ at }) => at),
      [2, 1],
    )
  }),
)

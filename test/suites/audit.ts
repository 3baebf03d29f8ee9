import type { Test } from 'tap'
import type { AuditEntry } from '../../openapi/schemas/audit.ts'
import { type AuditStore, MAX_ENTRIES } from '../../plugins/audit/stores/contract.ts'

const entry = (at: number): AuditEntry => ({
  ...{ at, action: 'cache:invalidate', by: 'ädmin', byToken: false, status: 200 },
  resources: [{ namespace: 'default', key: `"${at}"` }],
})

/** What every store of the audit trail must do. `make` gives one on fresh, empty storage. */
export async function auditSuite(t: Test, make: (t: Test) => Promise<AuditStore>): Promise<void> {
  t.test('entries come back as they were, the newest first', async (t) => {
    const store = await make(t)
    t.same(await store.list(), [])
    for (const at of [3, 1, 2]) await store.append(entry(at))
    t.same(await store.list(), [entry(2), entry(1), entry(3)])
  })

  t.test('the oldest go', async (t) => {
    const store = await make(t)
    await Promise.all(Array.from({ length: MAX_ENTRIES + 5 }, (_, at) => store.append(entry(at))))
    const entries = await store.list()
    t.equal(entries.length, MAX_ENTRIES)
    t.same([entries[0], entries.at(-1)], [entry(MAX_ENTRIES + 4), entry(5)])
  })
}

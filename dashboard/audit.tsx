import type { AuditTrail } from '../openapi/schemas/audit.ts'
import { get } from './api.ts'
import { formatMoment } from './format.ts'
import { Problem } from './outcome.tsx'
import { useReading } from './reading.ts'
import { Table } from './table.tsx'

/** What administrators have changed lately. */
export function Audit() {
  const { value, problem } = useReading(() => get<AuditTrail>('audit'), [])
  return (
    <>
      <Problem text={problem} />
      <Table
        caption="The latest changes by administrators"
        columns={['When', 'Who', 'What', 'To what', 'Outcome']}
        empty={value ? 'Nothing was changed yet.' : 'Waiting for the server…'}
        rows={(value?.entries ?? []).map(({ at, by, byToken, action, resources, status }, i) => ({
          key: `${at}-${i}`,
          cells: [
            formatMoment(at),
            byToken ? `${by} (token)` : by,
            <code key="action">{action}</code>,
            resources.map((one) => Object.values(one).join(' / ')).join(', '),
            status < 400 ? 'done' : `failed (${status})`,
          ],
        }))}
      />
    </>
  )
}

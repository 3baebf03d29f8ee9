import type { HistoryPoint } from '../../openapi/schemas/stats.ts'
import { formatCount, formatMoment, formatRate } from '../format.ts'
import { Table } from '../table.tsx'

/** What went wrong in the range, by the code that callers were told. */
export function Problems({ points }: { points: readonly HistoryPoint[] }) {
  const totals = new Map<string, { count: number; last: number }>()
  for (const { at, problems = {} } of points) {
    for (const [code, count] of Object.entries(problems)) {
      totals.set(code, { count: count + (totals.get(code)?.count ?? 0), last: at })
    }
  }
  const all = [...totals.values()].reduce((sum, { count }) => sum + count, 0)
  return (
    <Table
      caption="Errors by code"
      columns={['Code', 'Answers', 'Share of the errors', 'Last']}
      empty="None in this range."
      rows={[...totals]
        .sort(([, one], [, other]) => other.count - one.count)
        .map(([code, { count, last }]) => ({
          key: code,
          cells: [<code key="code">{code}</code>, formatCount(count), formatRate(count / all), formatMoment(last)],
        }))}
    />
  )
}

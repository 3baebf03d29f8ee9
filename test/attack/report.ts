import type { Outcome } from './attack.ts'

/** What an attack found, for people. */
export function report({ kind, findings, attacks, sent, faults, leftOut }: Outcome): string[] {
  const listed = (counts: Record<string, number>) =>
    Object.entries(counts)
      .map(([name, count]) => `${name} ${count}`)
      .join(', ') || 'none'
  return [
    ...[
      '',
      `## ${kind}`,
      `attacks: ${listed(attacks)}`,
      `sent: ${sent.requests} requests, ${sent.frames} frames`,
      `faults: ${listed(faults)}`,
    ],
    ...leftOut.map((fault) => `LEFT OUT: ${fault}`),
    ...findings.flatMap(({ kind: what, where, count, example, case: name }) => [
      `- ${what} [${where}] × ${count}${name === undefined ? '' : ` (--case '${name}' --storage ${kind})`}`,
      `    ${example}`,
    ]),
  ]
}

/** A line for each storage. */
export function table(outcomes: Outcome[]): string[] {
  const rows = [
    ['storage', 'attacks', 'faults', 'honest served', 'refused in faults', 'p99 ms', 'promises kept', 'MB', 'findings'],
    ...outcomes.map(({ kind, attacks, faults, served, excused, p99, promises, megabytes, findings }) =>
      [kind, sum(attacks), sum(faults), served, excused, Math.round(p99), promises, megabytes, findings.length].map(
        String,
      ),
    ),
  ]
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => (row[column] ?? '').length)))
  return [
    '',
    ...rows.map((row) =>
      row
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join('  ')
        .trimEnd(),
    ),
  ]
}

function sum(counts: Record<string, number>): number {
  return Object.values(counts).reduce((total, count) => total + count, 0)
}

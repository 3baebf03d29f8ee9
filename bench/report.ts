import { readFile, writeFile } from 'node:fs/promises'
import type { Report, Row, Suite } from './harness.ts'

const document = new URL('../docs/benchmarks.md', import.meta.url)

const heading = `# Benchmarks

Written by \`npm run bench -- <suite> --write\`; do not edit. Each suite runs this package, its peers and the limit of
what the machine can do, in one process run, in turn, over several rounds. Numbers are shares: of the limit (1 is the
limit) and of ours (above 1: better than this package). Absolute times are left out because they tell about the
machine; \`npm run bench -- <suite>\` prints yours. *Faults* are what went wrong while it was fast.
`

/** A table for a terminal, with the absolute medians. */
export function toTable(report: Report): string {
  const head = ['', 'median', 'unit', '±', 'of limit', 'of ours', 'faults']
  const lines = report.rows.map((row) => [
    row.name,
    number(row.median),
    row.unit,
    `${Math.round(row.spread * 100)} %`,
    share(row.ratioToLimit),
    share(row.ratioToOurs),
    faults(row),
  ])
  const widths = head.map((_, column) => Math.max(...[head, ...lines].map((line) => (line[column] ?? '').length)))
  const align = (line: string[]) => line.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join('  ')
  const versions = Object.entries(report.versions).map(([name, version]) => `${name} ${version}`)
  return [[head, ...lines].map((line) => align(line).trimEnd()).join('\n'), versions.join(', ')].join('\n\n')
}

/** Replaces the suite's part of docs/benchmarks.md, or adds it; the parts stand in the order of their names. */
export async function writeSection(suite: Suite, report: Report): Promise<void> {
  const text = await readFile(document, 'utf8').catch((error) => {
    if (error.code === 'ENOENT') return ''
    throw error
  })
  await writeFile(document, replaceSection(text, suite.name, toMarkdown(suite, report)))
}

export function replaceSection(text: string, name: string, section: string): string {
  const parts = new Map<string, string>()
  for (const [, name, part] of text.matchAll(/<!-- suite (\S+) -->\n(.*?)<!-- end -->/gs)) {
    parts.set(name as string, part as string)
  }
  parts.set(name, section)
  const sorted = [...parts].sort(([a], [b]) => (a < b ? -1 : 1))
  return [heading, ...sorted.map(([name, part]) => `<!-- suite ${name} -->\n${part}<!-- end -->\n`)].join('\n')
}

export function toMarkdown(suite: Suite, report: Report): string {
  const { node, platform, cpu, cores } = report.machine
  const versions = Object.entries(report.versions).map(([name, version]) => `${name} ${version}`)
  return [
    `## ${suite.name}\n\n${suite.description}\n`,
    ...suite.cases.map(({ name, unit, better }) => {
      const rows = report.rows.filter((row) => row.case === name).sort((a, b) => order(b) - order(a))
      return [
        `### ${name}\n\nIn ${unit}, ${better} is better.\n`,
        '| | of the limit | of ours | ± | faults |\n| --- | ---: | ---: | ---: | --- |',
        ...rows.map(
          (row) =>
            `| ${row.role === 'ours' ? `**${row.contender}**` : row.contender} | ${share(row.ratioToLimit)} | ${share(
              row.ratioToOurs,
            )} | ${Math.round(row.spread * 100)} % | ${faults(row)} |`,
        ),
        '',
      ].join('\n')
    }),
    `Node ${node}, ${platform}, ${cores} × ${cpu}. ${versions.join(', ')}.\n`,
  ].join('\n')
}

/** The best first. */
const order = (row: Row) => row.ratioToLimit ?? row.ratioToOurs ?? 0

const share = (ratio: number | null) => (ratio === null ? '–' : ratio.toFixed(2))

const number = (value: number) =>
  Math.abs(value) >= 100 ? Math.round(value).toLocaleString('en') : value.toPrecision(3)

function faults({ faults }: Row): string {
  const counts = Object.entries(faults).map(([name, count]) => `${count} ${name}`)
  return counts.length > 0 ? counts.join(', ') : 'not checked'
}

import { existsSync } from 'node:fs'
import { readdir } from 'node:fs/promises'
import { parseArgs } from 'node:util'
import { run, type Suite } from './harness.ts'
import { toTable, writeSection } from './report.ts'

const suites = new URL('./suites/', import.meta.url)

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    json: { type: 'boolean', default: false },
    write: { type: 'boolean', default: false },
    quick: { type: 'boolean', default: false },
  },
})

const [name, ...rest] = positionals
const file = name === undefined ? undefined : new URL(`${name}.ts`, suites)
if (!file || rest.length > 0 || !existsSync(file)) {
  const names = (await readdir(suites)).filter((file) => file.endsWith('.ts')).map((file) => file.slice(0, -3))
  process.stderr.write(`Usage: npm run bench -- <${names.sort().join('|')}> [--json] [--write] [--quick]\n`)
  process.exit(1)
}
if (values.write && values.quick) {
  process.stderr.write('A quick run proves that the suite runs; its numbers are not for docs/benchmarks.md.\n')
  process.exit(1)
}

const { default: suite } = (await import(file.href)) as { default: Suite }
const report = await run(suite, {
  quick: values.quick,
  progress: (line) => process.stderr.write(`${line}\n`),
})
if (values.write) await writeSection(suite, report)
process.stdout.write(values.json ? `${JSON.stringify(report)}\n` : `${toTable(report)}\n`)
// A peer's client may keep a timer or a socket that it offers no way to close.
process.exit(0)

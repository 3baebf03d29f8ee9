/**
 * `node scripts/tap-totals.mjs <report>`: what failed in a tap report, once more where a reader of the end of a long log
 * sees it, and its totals as `N passed, N failed`.
 */
import { readFileSync } from 'node:fs'
import { pathToFileURL } from 'node:url'

/**
 * Reads the totals from tap's last summary line, `# { total: 7, pass: 7, fail: 0 }`; counts that are zero may be left
 * out there.
 * @param {string} report what a reporter of tap wrote that prints totals (tap, terse, base)
 * @returns {{ passed: number, failed: number, skipped: number, todo: number }}
 * @throws {Error} when there are none, or they do not add up: a run that died half-way must not look like a result
 */
export function totalsOf(report) {
  const line = [...report.matchAll(/^# (\{ total: .*\})$/gm)].at(-1)?.[1]
  if (!line) throw new Error('The report has no totals: the tests did not run to their end.')
  const count = (name) => Number(new RegExp(`\\b${name}: (\\d+)`).exec(line)?.[1] ?? 0)
  const totals = { passed: count('pass'), failed: count('fail'), skipped: count('skip'), todo: count('todo') }
  const sum = totals.passed + totals.failed + totals.skipped + totals.todo
  if (sum !== count('total')) throw new Error(`The totals do not add up: ${line}`)
  return totals
}

/** Lines of a failure's diagnostics that are shown; a diff of two large values has thousands. */
const DIAGNOSTIC_LINES = 40

/**
 * What failed: each assertion with the tests it is in and its diagnostics. A test is named itself only when none of its
 * assertions failed: its process died, or its tear-down threw.
 * @param {string} report as for {@link totalsOf}
 * @returns {string[]} in the order of the report
 */
export function failuresOf(report) {
  const failures = []
  /** The open subtests, outermost first. */
  const tests = []
  const lines = report.split('\n')
  for (const [index, line] of lines.entries()) {
    const [, indent = '', kind, text = ''] = /^((?: {4})*)(# Subtest:|not ok|ok) (.*)$/.exec(line) ?? []
    if (!kind) continue
    const depth = indent.length / 4
    if (kind === '# Subtest:') {
      tests.length = depth
      tests.push({ name: text, failures: failures.length })
      continue
    }
    const closed = tests[depth]
    const name = text.replace(/^\d+ (?:- )?/, '').replace(/ # time=\S+$/, '')
    const toldWithin = closed?.name === name && failures.length > closed.failures
    if (kind === 'not ok' && !toldWithin && !/ # (?:TODO|SKIP)\b/i.test(name)) {
      const path = [...tests.slice(0, depth).map((test) => test.name), name].join(' > ')
      const diagnostics = lines.slice(index + 1, index + 1 + DIAGNOSTIC_LINES)
      const end = diagnostics.findIndex((line) => !line.startsWith(`${indent}  `))
      failures.push([`not ok: ${path}`, ...diagnostics.slice(0, end < 0 ? undefined : end)].join('\n'))
    }
    tests.length = depth
  }
  return failures
}

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href) {
  const report = readFileSync(process.argv[2] ?? 0, 'utf8')
  const { passed, failed, skipped, todo } = totalsOf(report)
  for (const failure of failuresOf(report)) process.stdout.write(`${failure}\n`)
  if (skipped + todo > 0) process.stdout.write(`${skipped} skipped, ${todo} todo\n`)
  process.stdout.write(`${passed} passed, ${failed} failed\n`)
  process.exitCode = failed > 0 || passed === 0 ? 1 : 0
}

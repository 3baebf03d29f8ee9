/** `node scripts/tap-totals.mjs <report>`: the totals of a tap report as `N passed, N failed`. */
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

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href) {
  const { passed, failed, skipped, todo } = totalsOf(readFileSync(process.argv[2] ?? 0, 'utf8'))
  if (skipped + todo > 0) process.stdout.write(`${skipped} skipped, ${todo} todo\n`)
  process.stdout.write(`${passed} passed, ${failed} failed\n`)
  process.exitCode = failed > 0 || passed === 0 ? 1 : 0
}

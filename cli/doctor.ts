import type { Finding } from './doctor/check.ts'
import { diagnose } from './doctor/checks.ts'
import { EXIT } from './exit-codes.ts'
import type { JsonOption, StorageOption } from './options.ts'
import { Output } from './output.ts'

const MARKS = { pass: ['✓', 'green'], warning: ['!', 'yellow'], failure: ['✗', 'red'] } as const

/** Looks whether everything that a server here needs is in order. Ends with 3 when something is not. */
export async function doctor(options: StorageOption & JsonOption): Promise<void> {
  const output = new Output(options)
  const findings = await diagnose({ ...process.env, STORAGE: options.storage })
  const count = (level: Finding['level']) => findings.filter((finding) => finding.level === level).length
  const [failures, warnings] = [count('failure'), count('warning')]
  const lines = findings.flatMap(({ level, what, found, cure }) => {
    const [mark, colour] = MARKS[level]
    return [`${output.style(colour, mark)} ${what}: ${found}`, ...(cure ? [`    → ${cure}`] : [])]
  })
  output.result({ failures, warnings, findings }, [...lines, '', `${failures} failures, ${warnings} warnings`])
  if (failures > 0) process.exitCode = EXIT.unsound
}

import { describeProblem } from '../plugins/storage/lmdb/problem.ts'
import type { FileReport } from '../plugins/storage/lmdb/verify.ts'
import { EXIT } from './exit-codes.ts'
import { folderOf, inspectFolder } from './lmdb-folder.ts'
import type { JsonOption, StorageOption } from './options.ts'
import { Output, printable } from './output.ts'

/** Reads and checks everything in an LMDB folder, beside the server too. Ends with 3 when something is damaged. */
export async function verify(options: StorageOption & JsonOption): Promise<void> {
  tell(await inspectFolder(folderOf(options.storage)), new Output(options))
}

/** Prints what a check found, and makes the process end with 3 when that is damage. */
export function tell({ records, databases, problems, damaged }: FileReport, output: Output, more: object = {}): void {
  const found = problems.map(describeProblem)
  const well = damaged ? [] : [`${records} records in ${databases} databases are well`]
  output.result({ damaged, records, databases, problems: found, ...more }, [
    ...found.map((problem) => `damaged: ${printable(problem)}`),
    ...well,
    ...Object.values(more).map((path) => `written: ${path}`),
  ])
  if (damaged) process.exitCode = EXIT.unsound
}

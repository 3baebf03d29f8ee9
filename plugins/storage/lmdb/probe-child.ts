import { type FileReport, verifyFile } from './verify.ts'

/** The process that may die of a damaged file; see probe.ts. */
const [, , path = ''] = process.argv

let report: FileReport
try {
  report = await verifyFile(path)
} catch (error) {
  report = { databases: 0, records: 0, problems: [(error as Error).message] }
}
process.send?.(report, () => process.disconnect())

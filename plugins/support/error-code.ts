import { STATUS_CODES } from 'node:http'

/** The code of an error that is not ours, such as one of the application: named after its status. */
export function codeOfStatus(status: number): string {
  return `STATEFUL_${(STATUS_CODES[status] ?? 'error').toUpperCase().replace(/[^A-Z]+/g, '_')}`
}

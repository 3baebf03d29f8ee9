import { readFileSync } from 'node:fs'

interface Report {
  userLimits?: { open_files?: { soft?: number | string } }
}

/**
 * How many files and sockets this process may have open: `ulimit -n`. Node raises the soft limit to the hard one when
 * it starts, so this is what counts. `Infinity` when there is none, or when it cannot be found out (Windows).
 */
export function openFilesLimit(): number {
  try {
    const [, soft = ''] = /^Max open files\s+(\S+)/m.exec(readFileSync('/proc/self/limits', 'utf8')) ?? []
    if (soft !== '') return toLimit(soft)
  } catch {
    // No Linux.
  }
  const { report } = process
  if (!report) return Number.POSITIVE_INFINITY
  // Otherwise a report looks up the names of all peers.
  const settings = report as { excludeNetwork?: boolean }
  const before = settings.excludeNetwork
  settings.excludeNetwork = true
  try {
    return toLimit((report.getReport() as Report).userLimits?.open_files?.soft)
  } finally {
    settings.excludeNetwork = before ?? false
  }
}

function toLimit(value: number | string | undefined): number {
  const limit = Number(value)
  return Number.isSafeInteger(limit) && limit > 0 ? limit : Number.POSITIVE_INFINITY
}

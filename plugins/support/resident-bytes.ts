/**
 * Resident memory of the process, in bytes. Node reads it from a file, which fails while the process has no file
 * descriptor free (EMFILE); then it is the most that it ever was, which the system tells without one.
 */
export function residentBytes(): number {
  try {
    return process.memoryUsage.rss()
  } catch {
    return process.resourceUsage().maxRSS * 1024
  }
}

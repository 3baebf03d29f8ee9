/**
 * Tells of an error of the application's that no caller can be given: as the platform does with uncaught errors,
 * where it has a way that does not end the process.
 */
export function reportFault(error: unknown): void {
  const { reportError } = globalThis as { reportError?: (error: unknown) => void }
  if (reportError) reportError(error)
  // biome-ignore lint/suspicious/noConsole: Node has nothing else to tell it by, and a client has no logger
  else console.error(error)
}

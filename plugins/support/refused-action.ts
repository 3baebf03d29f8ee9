/** Of an error of `demand`: the action that was refused, as problems and frames tell it. */
export function refusedAction(error: unknown): { action?: string } {
  const { action } = error as { action?: unknown }
  return typeof action === 'string' ? { action } : {}
}

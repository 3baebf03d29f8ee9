/** A number of the statistics at `section.field.field`, if it is there. */
export function numberAt(stats: object | undefined, path: string): number | undefined {
  let value: unknown = stats
  for (const part of path.split('.')) {
    if (typeof value !== 'object' || value === null) return undefined
    value = (value as Record<string, unknown>)[part]
  }
  return typeof value === 'number' ? value : undefined
}

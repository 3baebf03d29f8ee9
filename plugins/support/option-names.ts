/**
 * The names of options, apart from the rest of `options.ts`: the client checks its own as well, and carries nothing of
 * the server.
 */

/** What is said of the first unknown one of these options; `undefined` when all are known. */
export function unknownOption(
  options: object,
  known: ReadonlySet<string>,
  path = '',
  ignored: ReadonlySet<string> = new Set(),
): string | undefined {
  for (const name in options) {
    if (known.has(name) || ignored.has(name)) continue
    const near = nearest(name, known)
    const hint =
      near === undefined ? `Known are: ${[...known].join(', ') || 'none'}.` : `Did you mean '${path}${near}'?`
    return `Unknown option '${path}${name.slice(0, 64)}'. ${hint}`
  }
  return undefined
}

/** The name that was most likely meant, when one is near enough. */
export function nearest(name: string, known: Iterable<string>): string | undefined {
  let found: string | undefined
  // One slip in a short name, more in a longer one.
  let least = Math.max(1, Math.floor(name.length / 4)) + 1
  for (const one of known) {
    if (Math.abs(one.length - name.length) >= least) continue
    const distance = slips(name.toLowerCase(), one.toLowerCase())
    if (distance >= least) continue
    least = distance
    found = one
  }
  return found
}

/** How many letters were left out, added, mistaken or swapped with their neighbour (optimal string alignment). */
function slips(a: string, b: string): number {
  let before: number[] = []
  let last = Array.from({ length: b.length + 1 }, (_, j) => j)
  for (let i = 1; i <= a.length; i++) {
    const row = [i]
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1]
      let least = Math.min((last[j] ?? 0) + 1, (row[j - 1] ?? 0) + 1, (last[j - 1] ?? 0) + (same ? 0 : 1))
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) {
        least = Math.min(least, (before[j - 2] ?? 0) + 1)
      }
      row.push(least)
    }
    before = last
    last = row
  }
  return last[b.length] ?? 0
}

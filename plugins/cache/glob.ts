/**
 * `*` stands for any number of characters, `?` for exactly one; everything else for itself.
 * Matches by stepping back to the last star only: time is at most pattern × text, whatever a client sends,
 * where a regular expression could take exponential time.
 */
export function matchesGlob(pattern: string, text: string): boolean {
  let p = 0
  let t = 0
  let star = -1
  let resume = 0
  while (t < text.length) {
    if (pattern[p] === '*') {
      star = p++
      resume = t
    } else if (p < pattern.length && (pattern[p] === '?' || pattern[p] === text[t])) {
      p++
      t++
    } else if (star >= 0) {
      p = star + 1
      t = ++resume
    } else {
      return false
    }
  }
  while (pattern[p] === '*') p++
  return p === pattern.length
}

/** The characters before the first wildcard: every match begins with them. */
export function literalPrefix(pattern: string): string {
  return /^[^*?]*/.exec(pattern)?.[0] ?? ''
}

export const hasWildcard = (pattern: string): boolean => /[*?]/.test(pattern)

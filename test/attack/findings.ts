/** Something that must not happen, once. */
export interface Finding {
  /** What kind of thing it is, e.g. `undeclared answer`. */
  kind: string
  /** Where: an operation, a path, a part of the harness. With `kind` it is what findings are told apart by. */
  where: string
  /** The request and what came of it, as one can repeat it. */
  example: string
  /** Repeats it: the argument of `npm run attack -- --case`. */
  case?: string
}

export interface FindingClass extends Finding {
  count: number
}

/** What was found, each kind of it once. */
export class Findings {
  readonly #classes = new Map<string, FindingClass>()

  add(finding: Finding): void {
    const key = `${finding.kind}\n${finding.where}`
    const known = this.#classes.get(key)
    if (known) known.count++
    else this.#classes.set(key, { ...finding, count: 1 })
  }

  list(): FindingClass[] {
    return [...this.#classes.values()].sort((a, b) => (a.kind < b.kind ? -1 : a.kind > b.kind ? 1 : b.count - a.count))
  }
}

/** Bytes as one can read and repeat them: escaped, and what is long told by its length. */
export function shown(bytes: string | Buffer, most = 600): string {
  const text = typeof bytes === 'string' ? bytes : bytes.toString('latin1')
  const begin = JSON.stringify(text.slice(0, most)).slice(1, -1)
  return text.length > most ? `${begin}… (${text.length} bytes)` : begin
}

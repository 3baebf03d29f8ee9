import { styleText } from 'node:util'

type Style = Parameters<typeof styleText>[0]

/** Milliseconds between two drawings of progress. */
const DRAW_INTERVAL = 100
const CLEAR_LINE = '\r\u001b[K'

export interface Progress {
  /** How far it is now. */
  at(done: number): void
  /** Removes the line. */
  end(): void
}

/**
 * What a command prints: results on stdout, for people or with `--json` for programs; progress on stderr, and only on a
 * terminal. Colours come only on a terminal that has them; NO_COLOR and FORCE_COLOR are respected.
 */
export class Output {
  readonly #json: boolean

  constructor(options: { json?: boolean | undefined }) {
    this.#json = options.json === true
  }

  /** One result: the JSON document, or its lines for people. */
  result(value: unknown, lines: string | readonly string[]): void {
    if (this.#json) this.#print(JSON.stringify(value))
    else for (const line of typeof lines === 'string' ? [lines] : lines) this.#print(line)
  }

  /** One of many, of a command that goes on: one JSON document a line, or a line for people. */
  item(value: unknown, line: string): void {
    this.#print(this.#json ? JSON.stringify(value) : line)
  }

  /** A remark for people; with `--json` none. */
  note(line: string): void {
    if (!this.#json) process.stderr.write(`${line}\n`)
  }

  style(style: Style, text: string): string {
    return !this.#json && hasColours(process.stdout) ? styleText(style, text) : text
  }

  /** @param total what `done` is at the end, if that is known */
  progress(doing: string, total?: number): Progress {
    const { stderr } = process
    if (!stderr.isTTY) return { at() {}, end() {} }
    let drawn = Number.NEGATIVE_INFINITY
    return {
      at(done) {
        const now = performance.now()
        if (now - drawn < DRAW_INTERVAL) return
        drawn = now
        stderr.write(`${CLEAR_LINE}${doing} ${bar(done, total)}`)
      },
      end() {
        stderr.write(CLEAR_LINE)
      },
    }
  }

  #print(line: string): void {
    process.stdout.write(`${line}\n`)
  }
}

const BAR_WIDTH = 24

function bar(done: number, total: number | undefined): string {
  const count = done.toLocaleString('en')
  if (!total) return count
  const share = Math.min(1, done / total)
  const filled = Math.round(share * BAR_WIDTH)
  const percent = Math.floor(share * 100)
  return `${'█'.repeat(filled)}${'░'.repeat(BAR_WIDTH - filled)} ${percent}% ${count} of ${total.toLocaleString('en')}`
}

export function hasColours(stream: NodeJS.WriteStream): boolean {
  return stream.isTTY === true && stream.hasColors()
}

/** What a terminal obeys instead of showing it: control characters, and marks that turn the direction of reading. */
const OBEYED = /[\p{Cc}\u2028\u2029\u202a-\u202e\u2066-\u2069]/gu

/**
 * A text from outside (keys, names, user agents), fit for a terminal: it can neither move the cursor nor hide what
 * stands beside it.
 * @example printable('\u001b[2Jada') // '\\u001b[2Jada'
 */
export function printable(text: string): string {
  return text.replace(OBEYED, (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`)
}

/** Rows with their columns below each other; what is in them may be from outside. */
export function columns(texts: readonly (readonly string[])[]): string[] {
  const rows = texts.map((row) => row.map(printable))
  const widths: number[] = []
  for (const row of rows) {
    for (const [i, cell] of row.entries()) widths[i] = Math.max(widths[i] ?? 0, cell.length)
  }
  return rows.map((row) =>
    row
      .map((cell, i) => cell.padEnd(widths[i] ?? 0))
      .join('  ')
      .trimEnd(),
  )
}

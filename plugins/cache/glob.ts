/** Tells whether a text matches one pattern. */
export type Matcher = (text: string) => boolean

const PAIR = /[\ud800-\udbff][\udc00-\udfff]/g
/** Halves of pairs, which stand alone in no key. */
const FIRST_HALF = 0xd800
const ANY_OTHER = '\udfff'
const MAX_NAMED = 0x7ff

/**
 * `*` stands for any number of characters, `?` for exactly one; everything else for itself. A character is a code point:
 * an emoji is one, though it takes two units of a string.
 */
export function globMatcher(pattern: string): Matcher {
  if (!pattern.includes('?')) return unitMatcher(pattern)
  // Each pair becomes one unit, one of its own if the pattern names it.
  const named = new Map<string, string>()
  for (const [pair] of pattern.matchAll(PAIR)) {
    if (named.size < MAX_NAMED && !named.has(pair)) named.set(pair, String.fromCharCode(FIRST_HALF + named.size))
  }
  const fold = (text: string) => text.replace(PAIR, (pair) => named.get(pair) ?? ANY_OTHER)
  const matches = unitMatcher(fold(pattern))
  return (text) => matches(fold(text))
}

/**
 * The same by units.
 *
 * In linear time for any pattern that a client sends: a matcher goes through its text once. Between two stars the
 * earliest match is as good as any, so each part is looked for once, from where the part before it ended, and nothing
 * is ever stepped back to. A part without `?` is left to `indexOf`, which V8 does by Boyer and Moore; one with `?` goes
 * through all of its alignments at once, 32 of them a step (Shift-And, Baeza-Yates and Gonnet 1992).
 *
 * Made once for many texts: to make it costs as much as to match with it.
 */
function unitMatcher(pattern: string): Matcher {
  const [first = '', ...rest] = pattern.split(/\*+/)
  const last = rest.pop()
  if (last === undefined) return (text) => text.length === first.length && fits(first, text, 0)
  const parts = rest.map((part) => ({ find: finder(part), length: part.length }))
  const shortest = pattern.length - (pattern.match(/\*/g)?.length ?? 0)
  return (text) => {
    let room = text.length - shortest
    if (room < 0 || !fits(first, text, 0) || !fits(last, text, text.length - last.length)) return false
    let at = first.length
    for (const { find, length } of parts) {
      const next = find(text, at, room)
      if (next < 0) return false
      room -= next - length - at
      at = next
    }
    return true
  }
}

/** The characters before the first wildcard: every match begins with them. */
export function literalPrefix(pattern: string): string {
  return /^[^*?]*/.exec(pattern)?.[0] ?? ''
}

export const hasWildcard = (pattern: string): boolean => /[*?]/.test(pattern)

/** Whether the part stands in the text at this place, which has room for it. */
function fits(part: string, text: string, at: number): boolean {
  if (!part.includes('?')) return text.startsWith(part, at)
  for (let i = 0; i < part.length; i++) if (part[i] !== '?' && part[i] !== text[at + i]) return false
  return true
}

/**
 * Finds where the earliest match of a part ends; below 0 when there is none.
 * @param room how many characters may be left out before it: the parts after it need the others
 */
type Finder = (text: string, from: number, room: number) => number

function finder(part: string): Finder {
  if (/^\?*$/.test(part)) return (_text, from) => from + part.length
  if (part.includes('?')) return shiftAnd(part)
  return (text, from, room) => {
    const at = text.indexOf(part, from)
    return at < 0 || at - from > room ? -1 : at + part.length
  }
}

const WORD = 32
const ASCII = 128

function shiftAnd(part: string): Finder {
  const words = Math.ceil(part.length / WORD)
  /** Bit i of a character: it may stand at place i of the part. */
  const any = new Int32Array(words)
  for (let i = 0; i < part.length; i++) if (part[i] === '?') setBit(any, i)
  const ascii = new Array<Int32Array>(ASCII).fill(any)
  const others = new Map<number, Int32Array>()
  for (let i = 0; i < part.length; i++) {
    if (part[i] === '?') continue
    const code = part.charCodeAt(i)
    const known = code < ASCII ? ascii[code] : others.get(code)
    const places = known === undefined || known === any ? any.slice() : known
    if (code < ASCII) ascii[code] = places
    else others.set(code, places)
    setBit(places, i)
  }
  const top = words - 1
  const whole = 1 << ((part.length - 1) % WORD)
  /** Bit i: the characters up to the present one fit the part up to place i. */
  const state = new Int32Array(words)
  return (text, from, room) => {
    state.fill(0)
    for (let read = 0; read < part.length + room; read++) {
      const code = text.charCodeAt(from + read)
      const places = (code < ASCII ? ascii[code] : others.get(code)) ?? any
      // A match that begins after the room is of no use, so only places from `read - room` to `read` can fit.
      const low = Math.max(0, (read - room - 1) >> 5)
      const high = Math.min(top, read >> 5)
      let carry = read <= room ? 1 : 0
      for (let w = low; w <= high; w++) {
        const before = state[w] as number
        state[w] = ((before << 1) | carry) & (places[w] as number)
        carry = before >>> (WORD - 1)
      }
      if (high === top && ((state[top] as number) & whole) !== 0) return from + read + 1
    }
    return -1
  }
}

function setBit(words: Int32Array, bit: number): void {
  const word = Math.floor(bit / WORD)
  words[word] = (words[word] as number) | (1 << (bit % WORD))
}

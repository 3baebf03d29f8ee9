interface Place {
  value: object
  parent: Place | undefined
  name: string
}

/**
 * Where a value holds a number that JSON cannot say, as a JSON pointer (RFC 6901); `undefined` when it holds none.
 *
 * `JSON.parse('1e999')` is Infinity, which `JSON.stringify` writes as `null` and a template as `Infinity`: such a value
 * reads back as another one, or not at all. A schema notices it only where it names the type; here nothing is left out.
 * Not recursive: what comes from outside may be nested as deep as its size allows.
 */
export function nonFinitePlace(value: unknown): string | undefined {
  if (typeof value === 'number') return Number.isFinite(value) ? undefined : ''
  if (typeof value !== 'object' || value === null) return undefined
  const places: Place[] = [{ value, parent: undefined, name: '' }]
  for (let place = places.pop(); place; place = places.pop()) {
    for (const [name, part] of Object.entries(place.value) as [string, unknown][]) {
      if (typeof part === 'number') {
        if (!Number.isFinite(part)) return pointer(place, name)
      } else if (typeof part === 'object' && part !== null) places.push({ value: part, parent: place, name })
    }
  }
  return undefined
}

function pointer(parent: Place, name: string): string {
  let text = `/${escaped(name)}`
  for (let place: Place = parent; place.parent; place = place.parent) text = `/${escaped(place.name)}${text}`
  return text
}

const escaped = (name: string): string => name.replaceAll('~', '~0').replaceAll('/', '~1')

/**
 * Whether JSON text can hold a number beyond the range of doubles at all: these have three digits of exponent, or
 * more than three hundred digits. Most texts have not, and need not be walked through.
 */
export const mayOverflow = (text: string): boolean => /[eE]\+?\d{3}|\d{300}/.test(text)

/** Built-in classes whose instances JSON writes as `{}`, or as something unrecognisable. */
const WITHOUT_JSON = [Map, Set, WeakMap, WeakSet, WeakRef, RegExp, Error, Promise, ArrayBuffer, SharedArrayBuffer]

/**
 * The first part of a value that would not come back as it was from JSON, with its path (`.items[3]`): functions,
 * symbols, bigints, numbers that are none, `undefined` in a list, Map, Set, bytes, errors, invalid dates. Not lost in
 * this sense: fields that are `undefined`, which are not there afterwards, and objects with a `toJSON`, which say
 * themselves what they become (a Date, an id of a driver). Not recursive; for values that `JSON.stringify` has
 * accepted.
 */
export function lostPart(value: unknown): { path: string; what: string } | undefined {
  const waiting: { value: unknown; path: string }[] = [{ value, path: '' }]
  for (let part = waiting.pop(); part; part = waiting.pop()) {
    const { value, path } = part
    const what = fault(value)
    if (what !== undefined) return { path, what }
    if (typeof value !== 'object' || value === null || typeof (value as { toJSON?: unknown }).toJSON === 'function') {
      continue
    }
    if (Array.isArray(value)) {
      for (let index = value.length - 1; index >= 0; index--) {
        if (value[index] === undefined)
          return { path: `${path}[${index}]`, what: 'undefined, which a list cannot keep' }
        waiting.push({ value: value[index], path: `${path}[${index}]` })
      }
    } else {
      for (const [name, inner] of Object.entries(value)) waiting.push({ value: inner, path: `${path}.${name}` })
    }
  }
  return undefined
}

function fault(value: unknown): string | undefined {
  if (typeof value === 'number') return Number.isFinite(value) ? undefined : `${value}`
  if (typeof value === 'function' || typeof value === 'symbol' || typeof value === 'bigint') return `a ${typeof value}`
  if (typeof value !== 'object' || value === null) return undefined
  if (ArrayBuffer.isView(value)) return 'bytes; keep them as base64'
  if (value instanceof Date) return Number.isNaN(value.getTime()) ? 'an invalid Date' : undefined
  return WITHOUT_JSON.some((type) => value instanceof type) ? `a ${value.constructor?.name}` : undefined
}

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

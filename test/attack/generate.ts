import type { Random } from '../fixtures/random.ts'
import type { Contract, Schema } from './contract.ts'

/**
 * What the attacker may name: its own things only. It may do to them whatever an administrator may, so that
 * whatever the honest users lose was taken from them.
 */
const OWN: Record<string, readonly unknown[]> = {
  space: ['hostile-1', 'hostile-2'],
  namespace: ['hostile-1', 'hostile-2'],
  key: ['a', 'b', 'c', 'n', 'a/b', 'ключ', '%2e%2e', '{x}:1', '*', 'constructor', '__proto__'],
  keys: [['a', 'b'], ['c']],
  userId: ['mallory-1', 'nobody'],
  id: ['mallory-1', 'mallory-2', 'mallory-3'],
  username: ['mallory-1', 'mallory-2', 'admin', 'nobody'],
  handle: ['handle-of-nobody'],
  writer: ['writer-of-nobody'],
  clientId: ['hostile-client-1', 'hostile-client-2'],
  since: ['oldest', '0', '1', '1:x:0'],
  wait: [0, 20, 200],
  patterns: [['a*'], ['?'], ['*a*b*c*d*e*f*'], ['a', '**********x']],
  'last-event-id': ['1:x.0'],
}

/** Texts that satisfy one or another of the patterns in the documents. */
const TEXTS = ['app', '1:x', '1:x.0', '1:x:0', 'a', '0', '1']

/** Stand in a string for what JSON.stringify cannot write. */
const RAW: Record<string, string> = {
  '@infinity@': '1e999',
  '@minus infinity@': '-1e999',
  '@minus zero@': '-0',
  '@long number@': '9'.repeat(400),
  '@fraction@': '1e-999',
  '@surrogate@': '"\\ud800"',
  '@nul@': '"a\\u0000b"',
  '@deep array@': `${'['.repeat(6_000)}${']'.repeat(6_000)}`,
  '@deep object@': `${'{"a":'.repeat(6_000)}1${'}'.repeat(6_000)}`,
  '@prototype@': '{"__proto__":{"polluted":true}}',
  '@constructor@': '{"constructor":{"prototype":{"polluted":true}}}',
  '@thenable@': '{"then":"x"}',
  '@twice@': '{"a":1,"a":2}',
}

const VALUES: readonly unknown[] = [
  ...Object.keys(RAW),
  ...[null, true, false, 0, -1, 1.5, 2 ** 53, -(2 ** 53), 1e308, Number.MIN_VALUE],
  ...['', ' ', 'null', '1e999', '\u202e', '\ufeff', 'ﬀ'.repeat(200), 'a'.repeat(513), 'x'.repeat(70_000)],
  ...[[], {}, [[]], [null], { toString: 1 }, { toJSON: 'x' }, { $ref: '#' }, { length: -1 }],
  Array.from({ length: 2_000 }, (_, index) => index),
  Object.fromEntries(Array.from({ length: 1_000 }, (_, index) => [`k${index}`, index])),
]

/** Values by the schemas of the contract: right ones, nearly right ones and hostile ones. */
export class Generator {
  readonly #contract: Contract
  readonly #random: Random

  constructor(contract: Contract, random: Random) {
    this.#contract = contract
    this.#random = random
  }

  /** A value that the schema takes (where it can be told from the schema). */
  valid(schema: Schema, name?: string, depth = 0): unknown {
    const random = this.#random
    if (name !== undefined && OWN[name]) return random.pick(OWN[name])
    const own = this.#contract.resolve(schema)
    if ('const' in own) return own['const']
    if (Array.isArray(own['enum'])) return random.pick(own['enum'])
    const union = (own['anyOf'] ?? own['oneOf']) as Schema[] | undefined
    if (union) return this.valid(random.pick(union), name, depth)
    switch (own['type']) {
      case 'string':
        return this.#text(own)
      case 'integer':
      case 'number':
        return this.#number(own)
      case 'boolean':
        return random.chance(0.5)
      case 'null':
        return null
      case 'array': {
        const least = (own['minItems'] as number | undefined) ?? 0
        const length = random.integer(least, least + 3)
        return Array.from({ length }, () => this.valid((own['items'] ?? {}) as Schema, undefined, depth + 1))
      }
      case 'object':
        return this.#object(own, depth)
      default:
        return this.#anything(depth)
    }
  }

  /** A right value with something wrong in it, as JSON text. */
  nearlyValid(schema: Schema): string {
    const value = this.valid(schema)
    const times = this.#random.integer(1, 2)
    let broken = value
    for (let time = 0; time < times; time++) broken = this.#broken(broken)
    return toText(broken)
  }

  /** Something that has nothing to do with the schema, as JSON text. */
  hostile(): string {
    return toText(this.#random.pick(VALUES))
  }

  #broken(value: unknown): unknown {
    const random = this.#random
    if (typeof value !== 'object' || value === null || random.chance(0.15)) return random.pick(VALUES)
    if (Array.isArray(value)) {
      if (value.length === 0 || random.chance(0.3)) return [...value, random.pick(VALUES)]
      const at = random.integer(0, value.length - 1)
      return value.map((inner, index) => (index === at ? this.#broken(inner) : inner))
    }
    const names = Object.keys(value)
    const entries = Object.entries(value)
    if (names.length === 0 || random.chance(0.2)) {
      return { ...value, [random.pick(['extra', '', 'toString', 'x'.repeat(300)])]: random.pick(VALUES) }
    }
    const name = random.pick(names)
    if (random.chance(0.2)) return Object.fromEntries(entries.filter(([other]) => other !== name))
    return Object.fromEntries(entries.map(([other, inner]) => [other, other === name ? this.#broken(inner) : inner]))
  }

  #text(schema: Schema): string {
    const { minLength = 0, maxLength = 40, pattern } = schema as { [limit: string]: number } & { pattern?: string }
    if (pattern !== undefined) {
      const texts = TEXTS.filter((text) => new RegExp(pattern, 'u').test(text))
      if (texts.length > 0) return this.#random.pick(texts)
    }
    const length = this.#random.integer(minLength, Math.min(maxLength, minLength + 12))
    return Array.from({ length }, () => this.#random.pick(['a', 'b', 'z', '0', '-', 'é', '*'])).join('')
  }

  #number(schema: Schema): number {
    const { minimum, exclusiveMinimum, maximum } = schema as { [limit: string]: number | undefined }
    const least = minimum ?? (exclusiveMinimum === undefined ? 0 : exclusiveMinimum + 1)
    const most = Math.min(maximum ?? Number.MAX_SAFE_INTEGER, Number.MAX_SAFE_INTEGER)
    return this.#random.pick([least, Math.min(least + 1, most), Math.min(least + 1_000, most), most])
  }

  #object(schema: Schema, depth: number): Record<string, unknown> {
    const { properties = {}, required = [] } = schema as { properties?: Record<string, Schema>; required?: string[] }
    const value: Record<string, unknown> = {}
    for (const [name, inner] of Object.entries(properties)) {
      if (required.includes(name) || this.#random.chance(0.5)) value[name] = this.valid(inner, name, depth + 1)
    }
    const [named] = Object.values((schema['patternProperties'] ?? {}) as Record<string, Schema>)
    const others = named ?? (schema['additionalProperties'] as Schema | boolean | undefined)
    const least = (schema['minProperties'] as number | undefined) ?? 0
    if (typeof others === 'object') {
      for (let n = this.#random.integer(least, 3); n > 0; n--)
        value[`name${n}`] = this.valid(others, undefined, depth + 1)
    } else if (Object.keys(value).length < least) {
      const [name, inner] = this.#random.pick(Object.entries(properties))
      value[name] = this.valid(inner, name, depth + 1)
    }
    return value
  }

  #anything(depth: number): unknown {
    const random = this.#random
    const simple = [null, true, 1, -2.5, 'text', '', 'значение']
    if (depth > 3 || random.chance(0.6)) return random.pick(simple)
    if (random.chance(0.5)) return [this.#anything(depth + 1), this.#anything(depth + 1)]
    return { a: this.#anything(depth + 1), b: this.#anything(depth + 1) }
  }
}

/** JSON, and what JSON.stringify would not write. */
function toText(value: unknown): string {
  let text = JSON.stringify(value)
  for (const [mark, raw] of Object.entries(RAW)) text = text.replaceAll(JSON.stringify(mark), raw)
  return text
}

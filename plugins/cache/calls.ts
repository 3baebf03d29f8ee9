import { createHash } from 'node:crypto'
import { keyFault } from '../support/keys.ts'
import { invalidOption } from '../support/options.ts'
import { randomText } from '../support/random.ts'

type AnyFunction = (...args: never[]) => unknown

const digest = (text: string): string => createHash('sha256').update(text, 'utf16le').digest('base64url')
const FINGERPRINT = 8

/**
 * Keys of calls without a name of their own: `Users.get~k3J9x_Qa:[1]`. Two functions may have one name (classes of two
 * files, names by a minifier), so the text of the function is part of it, which is the same on every instance.
 */
export class CallNames {
  readonly #claims = new Map<string, { by: AnyFunction; shared: boolean }>()

  /**
   * For a method, whose class is known when it is called. One of the same text in a class of the same name is apart.
   */
  ofMethod(label: string, method: AnyFunction): string {
    const name = named(label, method)
    const claim = this.#claims.get(name) ?? { by: method, shared: false }
    this.#claims.set(name, claim)
    if (claim.by !== method && !claim.shared) {
      claim.shared = true
      process.emitWarning(
        `Two methods are called '${label}' and read the same: they share no entries with other instances`,
        {
          code: 'STATEFUL_CACHE_NAME',
          detail: "Give each a name (`cached({ name: 'users.get' })`) or a key of its own.",
        },
      )
    }
    // Which of the two another instance means by the name cannot be told.
    return claim.shared ? `${name}~${identity(method)}` : name
  }

  /** @throws STATEFUL_INVALID_OPTION when another function cannot be told from it */
  ofFunction(fn: AnyFunction): string {
    const name = named(fn.name || 'anonymous', fn)
    const claim = this.#claims.get(name)
    if (claim && claim.by !== fn) {
      throw invalidOption(
        'name',
        `or 'key' must be given to wrap: another function called '${fn.name}' reads the same, and they would share entries.`,
      )
    }
    this.#claims.set(name, { by: fn, shared: false })
    return name
  }
}

const named = (label: string, fn: AnyFunction): string =>
  `${label}~${digest(Function.prototype.toString.call(fn)).slice(0, FINGERPRINT)}`

/** The key of a call: the arguments as they are, or their hash where they make it too long. */
export function callKey(name: string, args: readonly unknown[]): string {
  const text = argumentsText(args)
  const key = `${name}:${text}`
  if (keyFault(key) === undefined) return key
  const short = `${name}:#${digest(text)}`
  return keyFault(short) === undefined ? short : `#${digest(key)}`
}

/**
 * Arguments as text, which is JSON for what JSON has: `[1,"1",undefined,null,Date(0),Map{1=>"a"},2n]`. What has no
 * content that could be told (functions, symbols, instances of classes without `toJSON`) is itself and nothing else, in
 * this process: it is apart from all others, and shares no entries with other instances.
 */
export function argumentsText(args: readonly unknown[]): string {
  return textOf(args, [])
}

function textOf(value: unknown, around: readonly object[]): string {
  switch (typeof value) {
    case 'string':
      return JSON.stringify(value)
    case 'number':
      return Object.is(value, -0) ? '-0' : `${value}`
    case 'bigint':
      return `${value}n`
    case 'symbol': {
      const key = Symbol.keyFor(value)
      return key === undefined ? identity(value) : `Symbol.for(${JSON.stringify(key)})`
    }
    case 'function':
      return identity(value)
    case 'object':
      return value === null ? 'null' : textOfObject(value, around)
    default:
      return String(value)
  }
}

function textOfObject(value: object, around: readonly object[]): string {
  const above = around.indexOf(value)
  if (above >= 0) return `^${above}`
  const inside = [...around, value]
  const inner = (part: unknown) => textOf(part, inside)
  if (Array.isArray(value)) return `[${Array.from(value, inner).join()}]`
  const prototype: unknown = Object.getPrototypeOf(value)
  if (prototype === null || prototype === Object.prototype) {
    const fields = Object.keys(value).sort()
    return `{${fields.map((name) => `${JSON.stringify(name)}:${inner((value as Record<string, unknown>)[name])}`).join()}}`
  }
  const name = (value.constructor as { name?: unknown } | undefined)?.name
  if (value instanceof Date) return `Date(${value.getTime()})`
  if (value instanceof RegExp) return `RegExp(${value})`
  if (value instanceof Map) return `Map{${[...value].map(([key, part]) => `${inner(key)}=>${inner(part)}`).join()}}`
  if (value instanceof Set) return `Set{${[...value].map(inner).join()}}`
  if (ArrayBuffer.isView(value)) {
    return `${name}(${Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString('base64')})`
  }
  const { toJSON } = value as { toJSON?: unknown }
  if (typeof toJSON === 'function') return `${name}(${inner(toJSON.call(value, ''))})`
  return `${name}(${identity(value)})`
}

const PROCESS = randomText(12)
const identities = new WeakMap<WeakKey, number>()
let last = 0

function identity(thing: WeakKey): string {
  let number = identities.get(thing)
  if (number === undefined) {
    number = ++last
    identities.set(thing, number)
  }
  return `@${PROCESS}.${number}`
}

import { Deserializer, Serializer } from 'node:v8'
import { InvalidCacheValueError } from '../support/errors.ts'

/** How a value is written down. Nothing reads JSON as fast as V8 does, but it knows neither Map nor Date. */
const JSON_BODY = 0x6a // j
/** V8's own form, that of structured clones. */
const V8_BODY = 0x76 // v
/** The same for a list: the value, and the objects in it that have no prototype, which V8 would give one. */
const BARE_BODY = 0x62 // b

export interface Body {
  kind: number
  bytes: Buffer
}

/**
 * A value in a form from which `readBody` makes an equal one: the second level gives back what the first one holds.
 * @throws STATEFUL_INVALID_CACHE_VALUE with the path of the part that would come back as something else
 */
export function writeBody(value: unknown): Body {
  try {
    if (isJson(value, 0)) return { kind: JSON_BODY, bytes: Buffer.from(JSON.stringify(value)) }
    const { bare } = partsOf(value)
    const writer = new Writer()
    writer.writeHeader()
    writer.writeValue(bare.length > 0 ? [value, bare] : value)
    return { kind: bare.length > 0 ? BARE_BODY : V8_BODY, bytes: writer.releaseBuffer() }
  } catch (cause) {
    if (cause instanceof InvalidCacheValueError) throw cause
    throw new InvalidCacheValueError(`cannot be encoded (${(cause as Error).message})`, { cause })
  }
}

/** @throws for what is no body */
export function readBody(kind: number, bytes: Uint8Array): unknown {
  if (kind === JSON_BODY) return JSON.parse(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString())
  const reader = new Reader(bytes)
  reader.readHeader()
  const read: unknown = reader.readValue()
  if (kind === V8_BODY) return read
  const [value, bare] = read as [unknown, object[]]
  for (const object of bare) Object.setPrototypeOf(object, null)
  return value
}

export const isJsonBody = (kind: number | undefined): boolean => kind === JSON_BODY

/** A copy that shares nothing with the value. @throws STATEFUL_INVALID_CACHE_VALUE */
export function cloned<T>(value: T): T {
  if (typeof value !== 'object' || value === null) return value
  const { kind, bytes } = writeBody(value)
  return readBody(kind, bytes) as T
}

/** Bytes that a value holds in memory beside what it takes encoded: a slice keeps the whole buffer that it is a slice of. */
export function hiddenBytes(value: unknown): number {
  return partsOf(value).hidden
}

/** What is not cached at all, wherever it comes from. @throws STATEFUL_INVALID_CACHE_VALUE */
export function checkValue(value: unknown): void {
  if (value === undefined) throw new InvalidCacheValueError('is undefined, which stands for a miss: use null')
  if (typeof value === 'function' || typeof value === 'symbol') {
    throw new InvalidCacheValueError(`is a ${typeof value}, which cannot be encoded`)
  }
}

/** Whether JSON gives back just this; what is deeper than records usually are is left to V8, so that this ends. */
function isJson(value: unknown, depth: number): boolean {
  if (typeof value === 'string' || typeof value === 'boolean' || value === null) return true
  // Neither NaN nor -0.
  if (typeof value === 'number') return Number.isFinite(value) && (value !== 0 || 1 / value > 0)
  if (typeof value !== 'object' || depth > 16) return false
  const prototype: unknown = Object.getPrototypeOf(value)
  if (Array.isArray(value)) {
    if (prototype !== Array.prototype) return false
    // Not every(), which skips holes.
    for (let i = 0; i < value.length; i++) if (!isJson(value[i], depth + 1)) return false
    // Others than its elements, such as those of a match.
    return Object.keys(value).length === value.length && Object.getOwnPropertySymbols(value).length === 0
  }
  if (prototype !== Object.prototype) return false
  for (const key in value) if (!isJson((value as Record<string, unknown>)[key], depth + 1)) return false
  return Object.getOwnPropertySymbols(value).length === 0
}

const VIEWS: readonly (new (buffer: ArrayBuffer) => NodeJS.ArrayBufferView)[] = [
  Int8Array,
  Uint8Array,
  Uint8ClampedArray,
  Int16Array,
  Uint16Array,
  Int32Array,
  Uint32Array,
  Float32Array,
  Float64Array,
  BigInt64Array,
  BigUint64Array,
  DataView,
]
const BUFFER = VIEWS.length

/** Views take their own bytes with them, not those of the buffer around them. */
class Writer extends Serializer {
  constructor() {
    super()
    // Not in the types of Node 20.
    ;(
      this as unknown as { _setTreatArrayBufferViewsAsHostObjects(on: boolean): void }
    )._setTreatArrayBufferViewsAsHostObjects(true)
  }

  _writeHostObject(view: NodeJS.ArrayBufferView): void {
    this.writeUint32(Buffer.isBuffer(view) ? BUFFER : VIEWS.indexOf(view.constructor as never))
    this.writeUint32(view.byteLength)
    this.writeRawBytes(new Uint8Array(view.buffer, view.byteOffset, view.byteLength))
  }
}

class Reader extends Deserializer {
  _readHostObject(): unknown {
    const type = this.readUint32()
    const bytes = this.readRawBytes(this.readUint32())
    if (type === BUFFER) return Buffer.from(bytes)
    const View = VIEWS[type]
    if (View === undefined) throw new TypeError('no kind of view')
    return new View(Uint8Array.from(bytes).buffer)
  }
}

/** Where a part stands in the value. */
interface Part {
  value: unknown
  name: string
  parent: Part | undefined
  depth: number
}

/** Writing and reading call themselves for each level. */
const MAX_DEPTH = 500
const MAX_PATH = 200

const ERRORS = new Set([Error, EvalError, RangeError, ReferenceError, SyntaxError, TypeError, URIError])
/** Classes whose instances V8 gives back, without what else was written on them. */
const KEPT = new Set<unknown>([Date, Map, Set, RegExp, ArrayBuffer, Number, String, Boolean, BigInt, ...ERRORS])

/**
 * Goes through a value that is no JSON.
 * @throws STATEFUL_INVALID_CACHE_VALUE for the first part that V8 refuses, or would give back as something else
 */
function partsOf(whole: unknown): { bare: object[]; hidden: number } {
  const bare: object[] = []
  let hidden = 0
  const seen = new Set<unknown>()
  const waiting: Part[] = [{ value: whole, name: '', parent: undefined, depth: 0 }]
  for (let part = waiting.pop(); part; part = waiting.pop()) {
    const { value } = part
    if (typeof value === 'function' || typeof value === 'symbol') throw refused(part, `a ${typeof value}`)
    if (typeof value !== 'object' || value === null || seen.has(value)) continue
    seen.add(value)
    if (part.depth > MAX_DEPTH) throw refused(part, `more than ${MAX_DEPTH} levels`)
    const prototype: unknown = Object.getPrototypeOf(value)
    const within = part
    const add = (inner: unknown, name: string) => {
      if (inner !== null && (typeof inner === 'object' || typeof inner === 'function' || typeof inner === 'symbol')) {
        waiting.push({ value: inner, name, parent: within, depth: within.depth + 1 })
      }
    }
    if (ArrayBuffer.isView(value)) {
      const type = VIEWS.find((View) => prototype === View.prototype)
      if (type === undefined && prototype !== Buffer.prototype) throw refused(part, nameOf(value))
      if (value.buffer instanceof SharedArrayBuffer) throw refused(part, 'shared memory')
      if (!seen.has(value.buffer)) hidden += value.buffer.byteLength
      seen.add(value.buffer)
      hidden -= value.byteLength
      continue
    }
    const isList = isPlainList(value, prototype)
    if (isList || isPlain(value, prototype)) {
      refuseSymbols(part, value)
      if (prototype === null) bare.push(value)
      for (const [name, inner] of Object.entries(value)) add(inner, isList ? `[${name}]` : `.${name}`)
      continue
    }
    const type = (value as { constructor?: { prototype: unknown } }).constructor
    if (!KEPT.has(type) || type?.prototype !== prototype) throw refused(part, nameOf(value))
    refuseSymbols(part, value)
    const others = Object.keys(value).length - (value instanceof String ? value.length : 0)
    if (others > 0) throw refused(part, `${nameOf(value)} with fields of its own`)
    if (value instanceof RegExp && value.lastIndex !== 0) throw refused(part, 'a RegExp in the middle of a text')
    if (value instanceof Error) add(value.cause, '.cause')
    if (value instanceof Set) for (const inner of value) add(inner, '.<element>')
    if (value instanceof Map) {
      for (const [key, inner] of value) {
        add(key, '.<key>')
        add(inner, `.get(${typeof key === 'string' ? `'${key}'` : typeof key === 'object' ? '…' : String(key)})`)
      }
    }
  }
  return { bare, hidden: Math.max(0, hidden) }
}

/** Also of another realm, such as that of a test runner. */
function isPlainList(value: object, prototype: unknown): boolean {
  return Array.isArray(value) && (prototype === Array.prototype || Array.isArray(prototype))
}

function isPlain(value: object, prototype: unknown): boolean {
  if (Array.isArray(value)) return false
  if (prototype === null || prototype === Object.prototype) return true
  return Object.getPrototypeOf(prototype) === null && Object.hasOwn(prototype as object, 'isPrototypeOf')
}

function refuseSymbols(part: Part, value: object): void {
  if (Object.getOwnPropertySymbols(value).length > 0) throw refused(part, 'a field named by a symbol')
}

function nameOf(value: object): string {
  const name: unknown = value.constructor?.name
  return typeof name === 'string' && name !== '' ? `an instance of ${name}` : 'an instance of a class'
}

function refused(part: Part, what: string): Error {
  let path = ''
  for (let place: Part | undefined = part; place?.parent && path.length < MAX_PATH; place = place.parent) {
    path = place.name + path
  }
  return part.parent === undefined
    ? new InvalidCacheValueError(`is ${what}, which would come back as something else: cache its data`)
    : new InvalidCacheValueError(`holds ${what} at ${path}, which would come back as something else: cache its data`)
}

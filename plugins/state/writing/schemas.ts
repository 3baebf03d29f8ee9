import type { Json } from '../../../openapi/schemas/state.ts'
import { StateSchemaError } from '../../support/errors.ts'
import { invalidOption } from '../../support/options.ts'
import { strictAjv } from '../../support/schemas.ts'
import { checkKey } from '../values/json.ts'

/** What zod, valibot, arktype and others call their schemas: https://standardschema.dev. */
export interface StandardSchema {
  readonly '~standard': {
    readonly version: 1
    readonly vendor: string
    readonly validate: (value: unknown) => StandardResult | Promise<StandardResult>
  }
}

interface StandardResult {
  readonly issues?: readonly { message: string; path?: readonly (PropertyKey | { key: PropertyKey })[] | undefined }[]
}

/** A schema of TypeBox or any JSON Schema, as in a route; or a Standard Schema. */
export type KeySchema = object | StandardSchema

/** The first place that does not fit, as a JSON pointer, and why. */
interface Misfit {
  place: string
  message: string
}

/** Why a value does not fit; `undefined` when it does. */
type Check = (value: Json) => Misfit | undefined

/** Keywords of later drafts that the validator does not know: it would pass what they forbid. */
const UNKNOWN = new Set(['prefixItems', 'unevaluatedProperties', 'unevaluatedItems', 'dependentSchemas', '$dynamicRef'])

/** What stands in these are names that an application has given, not keywords. */
const NAMING = new Set(['properties', 'patternProperties', 'definitions', '$defs'])

/** The schemas of a space's keys, by key or by prefix (`'user:*'`). The result of every write must fit. */
export class KeySchemas {
  readonly #shared: () => Record<string, unknown>
  readonly #keys = new Map<string, Check>()
  readonly #prefixes = new Map<string, Check>()

  /** @param shared the schemas that a `$ref` may name, by their `$id` */
  constructor(shared: () => Record<string, unknown> = () => ({})) {
    this.#shared = shared
  }

  /** @throws STATEFUL_INVALID_OPTION for what is no schema, STATEFUL_STATE_INVALID_KEY */
  define(pattern: string, schema: KeySchema): void {
    if (pattern !== '*') checkKey(pattern)
    const check = isStandard(schema) ? standardCheck(pattern, schema) : this.#jsonCheck(pattern, schema)
    if (pattern.endsWith('*')) this.#prefixes.set(pattern.slice(0, -1), check)
    else this.#keys.set(pattern, check)
  }

  /** @throws STATEFUL_STATE_SCHEMA with the first place that does not fit */
  check(key: string, value: Json): void {
    const exact = this.#keys.get(key)
    if (exact) refuseMisfit(exact, key, key, value)
    for (const [prefix, check] of this.#prefixes) {
      if (key.startsWith(prefix)) refuseMisfit(check, key, `${prefix}*`, value)
    }
  }

  /** As routes validate, formats included. Each schema stands for itself: two of the same `$id` may differ. */
  #jsonCheck(pattern: string, schema: unknown): Check {
    if (typeof schema !== 'object' || schema === null || Array.isArray(schema)) {
      throw noSchema(pattern, 'is no schema: give one of TypeBox, a JSON Schema or a Standard Schema (zod, valibot, …)')
    }
    const ajv = strictAjv({ addUsedSchema: false })
    for (const [keyword, value] of keywordsOf(schema)) {
      if (UNKNOWN.has(keyword)) {
        throw noSchema(pattern, `uses '${keyword}', which is not checked here: say it in JSON Schema draft 7`)
      }
      if (keyword === 'format' && typeof value === 'string' && !Object.hasOwn(ajv.formats, value)) {
        throw noSchema(pattern, `uses the format '${value}', which nobody knows`)
      }
    }
    const { $id } = schema as { $id?: string }
    for (const [id, shared] of Object.entries(this.#shared())) if (id !== $id) ajv.addSchema(shared as object, id)
    try {
      const validate = ajv.compile(schema)
      return (value) => {
        if (validate(value)) return undefined
        const [error] = validate.errors ?? []
        return { place: error?.instancePath ?? '', message: error?.message ?? 'is refused' }
      }
    } catch (error) {
      throw noSchema(pattern, `cannot be used: ${error instanceof Error ? error.message : String(error)}`)
    }
  }
}

function isStandard(schema: unknown): schema is StandardSchema {
  const object = (typeof schema === 'object' && schema !== null) || typeof schema === 'function'
  return object && typeof (schema as Partial<StandardSchema>)['~standard']?.validate === 'function'
}

/** What it makes of a value is not kept: a write must not depend on who validates it. */
function standardCheck(pattern: string, schema: StandardSchema): Check {
  return (value) => {
    const result = schema['~standard'].validate(value)
    if ('then' in result) {
      result.then(undefined, () => {})
      throw noSchema(pattern, 'validates asynchronously, for which a write cannot wait')
    }
    const [issue] = result.issues ?? []
    if (!issue) return undefined
    const path = (issue.path ?? []).map((part) => String(typeof part === 'object' ? part.key : part))
    const escaped = path.map((name) => `/${name.replaceAll('~', '~0').replaceAll('/', '~1')}`)
    return { place: escaped.join(''), message: issue.message }
  }
}

/** Of a schema and all that it is made of. What lies in a value, such as an example, is no keyword of its own. */
function keywordsOf(schema: object, named = false, seen = new Set<object>()): [string, unknown][] {
  if (seen.has(schema)) return []
  seen.add(schema)
  return Object.entries(schema).flatMap(([name, part]) => {
    if (!named && ['const', 'enum', 'default', 'example', 'examples'].includes(name)) return []
    const inside = typeof part === 'object' && part !== null ? keywordsOf(part, !named && NAMING.has(name), seen) : []
    return named || Array.isArray(schema) ? inside : [[name, part], ...inside]
  })
}

const noSchema = (pattern: string, fault: string): Error => invalidOption(`state.define('${pattern}')`, `${fault}.`)

function refuseMisfit(check: Check, key: string, pattern: string, value: Json): void {
  const misfit = check(value)
  if (!misfit) return
  const { place, message } = misfit
  const error = new StateSchemaError(key, pattern, `${place || '/'}: ${message}`)
  throw Object.assign(error, { errors: [{ path: `/value${place}`, message }] })
}

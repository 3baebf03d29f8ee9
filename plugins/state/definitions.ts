import type { TSchema } from '@sinclair/typebox'
import { type TypeCheck, TypeCompiler } from '@sinclair/typebox/compiler'
import type { Json } from '../../openapi/schemas/state.ts'
import { StateSchemaError } from '../support/errors.ts'

/** The schemas of a space's keys, by key or by prefix (`'user:*'`). Whatever is written, its result must fit. */
export class Definitions {
  readonly #keys = new Map<string, TypeCheck<TSchema>>()
  readonly #prefixes = new Map<string, TypeCheck<TSchema>>()

  define(pattern: string, schema: TSchema): void {
    const check = TypeCompiler.Compile(schema)
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
}

function refuseMisfit(check: TypeCheck<TSchema>, key: string, pattern: string, value: Json): void {
  if (check.Check(value)) return
  const error = check.Errors(value).First()
  throw new StateSchemaError(key, pattern, `${error?.path || '/'}: ${error?.message ?? 'is refused'}`)
}

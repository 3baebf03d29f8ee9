import type { TSchema } from '@sinclair/typebox'
import type { ValidateFunction } from 'ajv'
import type { Json } from '../../../openapi/schemas/state.ts'
import { StateSchemaError } from '../../support/errors.ts'
import { strictAjv } from '../../support/schemas.ts'

/** The schemas of a space's keys, by key or by prefix (`'user:*'`). Whatever is written, its result must fit. */
export class KeySchemas {
  /** As routes validate, formats included. Each schema stands for itself: two of the same `$id` may differ. */
  readonly #ajv = strictAjv({ addUsedSchema: false })
  readonly #keys = new Map<string, ValidateFunction>()
  readonly #prefixes = new Map<string, ValidateFunction>()

  define(pattern: string, schema: TSchema): void {
    const check = this.#ajv.compile(schema)
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

function refuseMisfit(check: ValidateFunction, key: string, pattern: string, value: Json): void {
  if (check(value)) return
  const [error] = check.errors ?? []
  throw new StateSchemaError(key, pattern, `${error?.instancePath || '/'}: ${error?.message ?? 'is refused'}`)
}

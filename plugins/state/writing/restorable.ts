import type { Json } from '../../../openapi/schemas/state.ts'
import { InvalidStateOpError, StateLimitError } from '../../support/errors.ts'
import { sizeOf } from '../log/codec.ts'
import type { WrittenEntry } from '../log/contract.ts'
import type { StateLimits } from '../options.ts'
import { checkKey, frozenJson, isPlainObject } from '../values/json.ts'
import type { Definitions } from './schemas.ts'

/**
 * Checks everything that shall become the content of a space, so that a restore is refused before anything is lost.
 * @returns the entries, given the revision that the restore will have
 * @throws STATEFUL_STATE_INVALID_OPERATION, STATEFUL_STATE_INVALID_KEY, STATEFUL_STATE_INVALID_VALUE,
 * STATEFUL_STATE_LIMIT, STATEFUL_STATE_SCHEMA
 */
export function restorable(
  state: Readonly<Record<string, unknown>>,
  definitions: Definitions,
  limits: StateLimits,
): (revision: number) => Map<string, WrittenEntry> {
  // The entries of a Map are no fields: it would restore to nothing.
  if (!isPlainObject(state)) throw new InvalidStateOpError('the state to restore is no plain object')
  const contents = new Map<string, { value: Json; json: string; bytes: number }>()
  let total = 0
  for (const [key, given] of Object.entries(state)) {
    checkKey(key)
    const value = frozenJson(given, key)
    definitions.check(key, value)
    const json = JSON.stringify(value)
    const bytes = sizeOf(key, json)
    if (bytes - Buffer.byteLength(key) > limits.valueBytes) {
      throw new StateLimitError(`The value of '${key}' is larger than ${limits.valueBytes} bytes.`)
    }
    total += bytes
    contents.set(key, { value, json, bytes })
  }
  if (contents.size > limits.keys) throw new StateLimitError(`A space holds at most ${limits.keys} keys.`)
  if (total > limits.bytes) throw new StateLimitError(`A space holds at most ${limits.bytes} bytes.`)
  return (revision) => new Map(Array.from(contents, ([key, content]) => [key, { ...content, revision }]))
}

import type { Json } from '../../../openapi/schemas/state.ts'
import { InvalidStateKeyError, InvalidStateValueError } from '../../support/errors.ts'
import { frozenCopy, stateKeyFault, ValueFault } from './frozen-copy.ts'

export { isPlainObject } from './frozen-copy.ts'

/** @throws STATEFUL_STATE_INVALID_KEY */
export function checkKey(key: unknown): asserts key is string {
  const fault = stateKeyFault(key)
  if (fault !== undefined) throw new InvalidStateKeyError(fault)
}

/**
 * A frozen copy of what may be the value of a key.
 * @throws STATEFUL_STATE_INVALID_VALUE
 */
export function frozenJson(value: unknown, key: string, depth = 0): Json {
  try {
    return frozenCopy(value, depth)
  } catch (error) {
    throw error instanceof ValueFault ? new InvalidStateValueError(key, error.message) : error
  }
}

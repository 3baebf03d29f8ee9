import type { Op } from '../../openapi/schemas/state.ts'
import { InvalidStateOpError } from '../support/errors.ts'
import { checkKey, frozenJson } from './json.ts'

/**
 * What may go into the log: the operation with a frozen copy of its operand.
 * @throws STATEFUL_STATE_INVALID_KEY, STATEFUL_STATE_INVALID_VALUE, STATEFUL_STATE_INVALID_OPERATION
 */
export function checkOp(op: Op): Op {
  checkKey(op.key)
  if (op.ttl !== undefined && (!Number.isSafeInteger(op.ttl) || op.ttl < 1)) {
    throw new InvalidStateOpError(`the ttl of '${op.key}' is no positive number of milliseconds`)
  }
  if (op.op === 'delete' || (op.op === 'increment' && op.value === undefined)) return op
  const value = frozenJson(op.value, op.key)
  // Field by field, as in Space.commit.
  return op.ttl === undefined ? { op: op.op, key: op.key, value } : { op: op.op, key: op.key, value, ttl: op.ttl }
}

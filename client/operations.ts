import type { Op } from '../openapi/schemas/state.ts'
import { checkedOperation, type Invalid } from '../plugins/state/values/operation.ts'
import { WriteError } from './errors.ts'

const MOST_OPERATIONS = 128

/**
 * Copies of operations as the server will have them, so that what is shown is what it gets and cannot be changed
 * meanwhile.
 * @throws WriteError for what the server would refuse
 */
export function checkedOps(ops: readonly Op[]): Op[] {
  if (ops.length < 1 || ops.length > MOST_OPERATIONS) {
    throw invalid('OPERATION', `a commit holds 1 to ${MOST_OPERATIONS} operations, not ${ops.length}`, '')
  }
  return ops.map((op) => checkedOperation(op, invalid))
}

const invalid: Invalid = (part, fault, key) =>
  new WriteError(`STATEFUL_STATE_INVALID_${part}`, `The ${part.toLowerCase()} is refused ('${key}'): ${fault}.`)

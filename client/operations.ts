import type { Op } from '../openapi/schemas/state.ts'
import { frozenCopy, stateKeyFault } from '../plugins/state/values/frozen-copy.ts'
import { MAX_DURATION } from '../plugins/support/numbers.ts'
import { WriteError } from './errors.ts'

const MOST_OPERATIONS = 128
const KINDS = /^(set|merge|increment|append|setAdd|setRemove|delete)$/

/**
 * Copies of operations as the server will have them, so that what is shown is what it gets and nobody changes it
 * meanwhile.
 * @throws WriteError for what the server would refuse
 */
export function checkedOps(ops: readonly Op[]): Op[] {
  if (ops.length < 1 || ops.length > MOST_OPERATIONS) {
    throw invalid('OPERATION', `A commit holds 1 to ${MOST_OPERATIONS} operations, not ${ops.length}.`)
  }
  return ops.map(checkedOp)
}

function checkedOp({ op, key, value, ttl }: Op): Op {
  const fault = stateKeyFault(key)
  if (fault !== undefined) throw invalid('KEY', `The key ${fault}.`)
  if (!KINDS.test(op)) throw invalid('OPERATION', `There is no operation '${op}'.`)
  if (ttl !== undefined && !(Number.isSafeInteger(ttl) && ttl > 0 && ttl <= MAX_DURATION)) {
    throw invalid('OPERATION', `The ttl of '${key}' is no number of milliseconds from 1 to a hundred years.`)
  }
  if (op === 'delete') return { op, key }
  const lasting = ttl === undefined ? {} : { ttl }
  if (op === 'increment' && value === undefined) return { op, key, ...lasting }
  try {
    // An element lies one level deeper than the list that it joins.
    return { op, key, value: frozenCopy(value, op === 'append' || op === 'setAdd' ? 1 : 0), ...lasting }
  } catch (error) {
    throw invalid('VALUE', `The value of '${key}' ${(error as Error).message}.`)
  }
}

const invalid = (what: string, message: string) => new WriteError(`STATEFUL_STATE_INVALID_${what}`, message)

import type { Json, Op } from '../../../openapi/schemas/state.ts'
import { StatefulError } from '../../support/stateful-error.ts'
import { type Misfit, reduce } from './reducer.ts'

/** The operation does not fit the value that is there; nothing was changed. Code STATEFUL_STATE_TYPE_MISMATCH, 422. */
export class TypeMismatchError extends StatefulError {
  readonly code = 'STATEFUL_STATE_TYPE_MISMATCH'
  readonly statusCode = 422

  constructor(op: Op, expected: string) {
    super(`'${op.op}' of key '${op.key}' needs ${expected}.`)
    this.name = 'TypeMismatchError'
  }
}

const misfit: Misfit = (op, expected) => new TypeMismatchError(op, expected)

/**
 * What an operation makes of a value, on the server.
 * @param current the key's value; `undefined` when there is none
 * @returns the new value; `undefined` when the key is gone. Never changes `current`.
 * @throws TypeMismatchError
 */
export const applyOp = (current: Json | undefined, op: Op): Json | undefined => reduce(current, op, misfit)

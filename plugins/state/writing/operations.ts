import type { Json, Op } from '../../../openapi/schemas/state.ts'
import {
  InvalidStateKeyError,
  InvalidStateOpError,
  InvalidStateValueError,
  StateLimitError,
} from '../../support/errors.ts'
import { sizeOf } from '../log/codec.ts'
import type { WrittenEntry } from '../log/contract.ts'
import type { StateLimits } from '../options.ts'
import { ValueFault } from '../values/frozen-copy.ts'
import { checkKey, frozenJson, isPlainObject } from '../values/json.ts'
import { checkedOperation, type Invalid } from '../values/operation.ts'
import type { KeySchemas } from './schemas.ts'

const MAX_CLIENT_ID = 128

/**
 * Who wrote a commit. Both stand in its record, and a client that sends the same two again is told of the first commit.
 * @throws STATEFUL_STATE_INVALID_OPERATION
 */
export function checkAuthor(clientId: unknown, seq: unknown): void {
  if (clientId === undefined && seq === undefined) return
  if (clientId === undefined || seq === undefined) throw new InvalidStateOpError('clientId and seq belong together')
  if (typeof clientId !== 'string' || clientId.length === 0 || clientId.length > MAX_CLIENT_ID) {
    throw new InvalidStateOpError(`the clientId is no string of 1 to ${MAX_CLIENT_ID} characters`)
  }
  if (!clientId.isWellFormed()) throw new InvalidStateOpError('the clientId holds half a surrogate pair')
  if (!Number.isSafeInteger(seq) || (seq as number) < 0) {
    throw new InvalidStateOpError('the seq is no whole number from 0 to 2^53 - 1')
  }
}

/** @throws STATEFUL_STATE_INVALID_KEY, STATEFUL_STATE_INVALID_VALUE, STATEFUL_STATE_INVALID_OPERATION */
export const checkOp = (op: Op): Op => checkedOperation(op, invalid)

const invalid: Invalid = (part, fault, key, cause) => {
  if (part === 'KEY') return new InvalidStateKeyError(fault)
  if (part === 'OPERATION') return new InvalidStateOpError(fault)
  return cause instanceof ValueFault ? new InvalidStateValueError(key, fault) : cause
}

/**
 * Checks everything that shall become the content of a space, so that a restore is refused before anything is lost.
 * @returns the entries, given the revision that the restore will have
 * @throws STATEFUL_STATE_INVALID_OPERATION, STATEFUL_STATE_INVALID_KEY, STATEFUL_STATE_INVALID_VALUE,
 * STATEFUL_STATE_LIMIT, STATEFUL_STATE_SCHEMA
 */
export function restorable(
  state: Readonly<Record<string, unknown>>,
  schemas: KeySchemas,
  limits: StateLimits,
): (revision: number) => Map<string, WrittenEntry> {
  // The entries of a Map are no fields: it would restore to nothing.
  if (!isPlainObject(state)) throw new InvalidStateOpError('the state to restore is no plain object')
  const contents = new Map<string, { value: Json; json: string; bytes: number }>()
  let total = 0
  for (const [key, given] of Object.entries(state)) {
    checkKey(key)
    const value = frozenJson(given, key)
    schemas.check(key, value)
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

import type { Ajv, ValidateFunction } from 'ajv'
import { type ClientMessage, clientMessages } from '../../openapi/messages/client.ts'
import { InvalidMessageError } from '../support/errors.ts'
import { mayOverflow, nonFinitePlace } from '../support/json.ts'
import { isTooDeep, MAX_JSON_DEPTH } from '../support/json-depth.ts'
import { strictAjv } from '../support/schemas.ts'

let ajv: Ajv | undefined

/** As for the bodies of routes: nothing is converted, and unknown fields are refused. Compiled when it is needed first. */
function checkOf(type: unknown): ValidateFunction | undefined {
  if (typeof type !== 'string' || !Object.hasOwn(clientMessages, type)) return undefined
  ajv ??= strictAjv({ schemas: clientMessages })
  return ajv.getSchema(type)
}

/** Thrown for a frame that is no JSON at all: unlike a wrong message, it ends the connection. */
export class NotJsonError extends Error {}

/**
 * @throws NotJsonError
 * @throws STATEFUL_INVALID_MESSAGE for JSON that is no message of ours; `request` of the error names its type
 */
export function parseMessage(text: string): ClientMessage {
  let message: unknown
  try {
    message = JSON.parse(text)
  } catch {
    throw new NotJsonError('The frame is not JSON.')
  }
  if (isTooDeep(message)) throw new InvalidMessageError(`it has more than ${MAX_JSON_DEPTH} levels`)
  const type = (message as { type?: unknown } | null)?.type
  const check = checkOf(type)
  if (!check) throw new InvalidMessageError(`'type' must be one of ${Object.keys(clientMessages).join(', ')}`)
  if (!check(message)) {
    const first = check.errors?.[0]
    throw new InvalidMessageError(`${first?.instancePath || '/'} ${first?.message ?? 'does not match its schema'}`)
  }
  if (/__proto__|\\u/i.test(text) && hasPrototypeKey(message)) {
    throw new InvalidMessageError("a field may not be called '__proto__'")
  }
  if (mayOverflow(text)) {
    const place = nonFinitePlace(message)
    if (place !== undefined) throw new InvalidMessageError(`${place} must be a finite number`)
  }
  const valid = message as ClientMessage
  if ('key' in valid && 'prefix' in valid) throw new InvalidMessageError('name a key or a prefix, not both')
  return valid
}

/** The `type` of a refused frame, for the answer: only when it is one of ours. */
export function typeOf(text: string): string | undefined {
  const type = /"type"\s*:\s*"([a-zA-Z]{1,32})"/.exec(text.slice(0, 4096))?.[1]
  return type && Object.hasOwn(clientMessages, type) ? type : undefined
}

/** JSON.parse makes `__proto__` an own field, which code that copies by assignment would take for the prototype. */
function hasPrototypeKey(value: unknown): boolean {
  const stack = [value]
  for (let item = stack.pop(); item !== undefined; item = stack.pop()) {
    if (typeof item !== 'object' || item === null) continue
    if (Object.hasOwn(item, '__proto__')) return true
    for (const inner of Object.values(item)) if (typeof inner === 'object' && inner !== null) stack.push(inner)
  }
  return false
}

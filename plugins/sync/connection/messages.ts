import type { Ajv, ValidateFunction } from 'ajv'
import { type ClientMessage, clientMessages } from '../../../openapi/messages/client.ts'
import { InvalidMessageError } from '../../support/errors.ts'
import { mayOverflow, nonFinitePlace } from '../../support/json.ts'
import { isTooDeep, MAX_JSON_DEPTH } from '../../support/json-depth.ts'
import { SPACE_NAME } from '../../support/keys.ts'
import { strictAjv } from '../../support/schemas.ts'

let ajv: Ajv | undefined

/** As for the bodies of routes: nothing is converted, and unknown fields are refused. Compiled when it is needed first. */
function checkOf(type: unknown): ValidateFunction | undefined {
  if (typeof type !== 'string' || !Object.hasOwn(clientMessages, type)) return undefined
  ajv ??= strictAjv({ schemas: clientMessages })
  return ajv.getSchema(type)
}

/** Thrown for a frame that is no JSON at all: unlike a wrong message, it ends the connection. */
export class NotJsonError extends Error {}

/** JSON that is no message of ours, with what can be told of it. */
export class InvalidMessage extends Error {
  override readonly cause: InstanceType<typeof InvalidMessageError>
  /** As far as the fields of the message are what they must be. */
  readonly about: { type?: string; seq?: number; clientId?: string; space?: string }

  constructor(cause: InstanceType<typeof InvalidMessageError>, message: unknown) {
    super(cause.message)
    this.cause = cause
    this.about = aboutOf(message)
  }
}

function aboutOf(message: unknown): InvalidMessage['about'] {
  if (typeof message !== 'object' || message === null) return {}
  const { type, seq, clientId, space } = message as { [field: string]: unknown }
  return {
    ...(typeof type === 'string' && Object.hasOwn(clientMessages, type) ? { type } : {}),
    ...(typeof seq === 'number' && Number.isSafeInteger(seq) && seq >= 1 ? { seq } : {}),
    ...(typeof clientId === 'string' && clientId.length <= 128 ? { clientId } : {}),
    ...(typeof space === 'string' && SPACE_NAME.test(space) ? { space } : {}),
  }
}

/**
 * @throws NotJsonError
 * @throws InvalidMessage for JSON that is no message of ours; its cause is STATEFUL_INVALID_MESSAGE
 */
export function parseMessage(text: string): ClientMessage {
  let message: unknown
  try {
    message = JSON.parse(text)
  } catch {
    throw new NotJsonError('The frame is not JSON.')
  }
  try {
    return checkMessage(text, message)
  } catch (error) {
    throw new InvalidMessage(error as InstanceType<typeof InvalidMessageError>, message)
  }
}

function checkMessage(text: string, message: unknown): ClientMessage {
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

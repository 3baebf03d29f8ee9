import { type TypeCheck, TypeCompiler } from '@sinclair/typebox/compiler'
import { type ClientMessage, clientMessages } from '../../openapi/messages/client.ts'
import { InvalidMessageError } from '../support/errors.ts'

type Checks = { [name: string]: TypeCheck<(typeof clientMessages)[keyof typeof clientMessages]> }

const checks = Object.assign(
  Object.create(null),
  Object.fromEntries(Object.entries(clientMessages).map(([name, schema]) => [name, TypeCompiler.Compile(schema)])),
) as Checks

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
  const type = (message as { type?: unknown } | null)?.type
  const check = typeof type === 'string' ? checks[type] : undefined
  if (!check) throw new InvalidMessageError("'type' must be one of " + Object.keys(checks).join(', '))
  if (!check.Check(message)) {
    const first = check.Errors(message).First()
    throw new InvalidMessageError(first ? `${first.path || '/'} ${first.message}` : 'it does not match its schema')
  }
  if (/__proto__|\\u/i.test(text) && hasPrototypeKey(message)) {
    throw new InvalidMessageError("a field may not be called '__proto__'")
  }
  if ('key' in message && 'prefix' in message && message.key !== undefined && message.prefix !== undefined) {
    throw new InvalidMessageError('name a key or a prefix, not both')
  }
  return message as ClientMessage
}

/** The `type` of a refused frame, for the answer: only when it is one of ours. */
export function typeOf(text: string): string | undefined {
  const type = /"type"\s*:\s*"([a-zA-Z]{1,32})"/.exec(text.slice(0, 4096))?.[1]
  return type && type in checks ? type : undefined
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

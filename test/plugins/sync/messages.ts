import { Ajv, type ValidateFunction } from 'ajv'
import { Change, PresenceMember, type ServerMessage, serverMessages } from '../../../openapi/messages/server.ts'

const ajv = new Ajv({ strict: false }).addSchema(Change).addSchema(PresenceMember)
const checks = new Map<string, ValidateFunction>(
  Object.entries(serverMessages).map(([type, schema]) => [type, ajv.compile(schema)]),
)

/** Every frame that a test sees goes through here: it must be a message of the published contract. */
export function checked(text: string): ServerMessage {
  const message = JSON.parse(text) as ServerMessage
  const check = checks.get(message.type)
  if (!check) throw new Error(`unknown message type: ${text.slice(0, 200)}`)
  if (!check(message)) throw new Error(`${JSON.stringify(check.errors)}: ${text.slice(0, 500)}`)
  return message
}

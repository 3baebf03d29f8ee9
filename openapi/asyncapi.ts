import type { TSchema } from '@sinclair/typebox'
import { clientMessages } from './messages/client.ts'
import { closeCodes } from './messages/close-codes.ts'
import { clientExamples, type Example, serverExamples } from './messages/examples.ts'
import { Change, PresenceMember, serverMessages } from './messages/server.ts'
import { Op } from './schemas/state.ts'

const closing = Object.entries(closeCodes)
  .map(([code, meaning]) => `- \`${code}\`: ${meaning}`)
  .join('\n')

/** Where the WebSocket is. */
export interface AsyncApiServer {
  /** With the port, if it is another than that of the protocol. */
  readonly host: string
  readonly protocol: 'ws' | 'wss'
  /** What stands before `/sync`. */
  readonly prefix: string
}

/** The reference server, as it runs without configuration. */
const REFERENCE: AsyncApiServer = { host: 'localhost:3000', protocol: 'ws', prefix: '' }

/**
 * The AsyncAPI 3.0 document of the WebSocket, from the schemas that also check the frames at run time.
 * A WebSocket is one channel: which space and topic a message is about stands in its payload.
 */
export function asyncApiDocument({ host, protocol, prefix }: AsyncApiServer = REFERENCE): object {
  const received = Object.values(clientMessages)
  const sent = Object.values(serverMessages)
  const examples = new Map([
    ...examplesOf(clientMessages, clientExamples),
    ...examplesOf(serverMessages, serverExamples),
  ])
  return {
    asyncapi: '3.0.0',
    info: {
      title: 'fastify-stateful live synchronisation',
      version: '1',
      license: { name: 'MIT' },
      description: `JSON text frames, each an object with a \`type\`. Close codes:\n\n${closing}`,
    },
    servers: { default: { host, protocol } },
    channels: {
      sync: {
        address: `${prefix}/sync`,
        title: 'Live state',
        description:
          'Connect with `?space=app` to follow that space at once; the first frame is then its fullSync (or, with `since`, what was missed). Without it, send `hello` and `subscribe`.',
        servers: [{ $ref: '#/servers/default' }],
        messages: Object.fromEntries(
          [...received, ...sent].map((schema) => [idOf(schema), { $ref: `#/components/messages/${idOf(schema)}` }]),
        ),
        bindings: {
          ws: {
            bindingVersion: '0.1.0',
            method: 'GET',
            query: {
              type: 'object',
              properties: {
                space: { type: 'string', description: 'Follow this space at once.' },
                key: { type: 'string', description: 'Only this key of it.' },
                prefix: { type: 'string', description: 'Only its keys with this prefix.' },
                since: { type: 'string', description: 'Continue from this position, `<epoch>.<revision>`.' },
                clientId: { type: 'string', description: 'The same as in `hello`.' },
                access_token: { type: 'string', description: 'What `Authorization: Bearer` would say.' },
              },
            },
          },
        },
      },
    },
    operations: {
      receiveFromClient: operation('receive', received, 'What a client may send.'),
      sendToClient: operation('send', sent, 'What the server sends.'),
    },
    components: {
      messages: Object.fromEntries(
        [...received, ...sent].map((schema) => [
          idOf(schema),
          {
            name: idOf(schema),
            contentType: 'application/json',
            ...(schema.description === undefined ? {} : { summary: schema.description }),
            payload: { $ref: `#/components/schemas/${idOf(schema)}` },
            examples: examples.get(schema),
          },
        ]),
      ),
      schemas: Object.fromEntries(
        [...received, ...sent, Change, PresenceMember, Op].map((schema) => [idOf(schema), component(schema)]),
      ),
    },
  }
}

/** The examples of each schema; both are known by the `type` of the message. */
function examplesOf<Type extends string>(
  schemas: { readonly [Name in Type]: TSchema },
  examples: { readonly [Name in Type]: readonly Example<unknown>[] },
): [TSchema, readonly Example<unknown>[]][] {
  return (Object.keys(schemas) as Type[]).map((type) => [schemas[type], examples[type]])
}

function operation(action: 'send' | 'receive', messages: TSchema[], summary: string): object {
  return {
    action,
    summary,
    channel: { $ref: '#/channels/sync' },
    messages: messages.map((schema) => ({ $ref: `#/channels/sync/messages/${idOf(schema)}` })),
  }
}

function idOf(schema: TSchema): string {
  if (!schema.$id) throw new TypeError('a message needs an $id')
  return schema.$id
}

/** The schema as a component: plain JSON, with references to other components wherever one is used. */
function component(schema: TSchema): unknown {
  const { $id: _, ...body } = JSON.parse(JSON.stringify(schema)) as Record<string, unknown>
  return withReferences(body)
}

function withReferences(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withReferences)
  if (typeof value !== 'object' || value === null) return value
  const { $id, $ref } = value as { $id?: unknown; $ref?: unknown }
  if (typeof $id === 'string') return { $ref: `#/components/schemas/${$id}` }
  if (typeof $ref === 'string' && !$ref.startsWith('#')) return { $ref: `#/components/schemas/${$ref}` }
  return Object.fromEntries(Object.entries(value).map(([name, inner]) => [name, withReferences(inner)]))
}

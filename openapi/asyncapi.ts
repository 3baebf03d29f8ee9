import type { TSchema } from '@sinclair/typebox'
import { clientMessages } from './messages/client.ts'
import { closeCodes } from './messages/close-codes.ts'
import { clientExamples, type Example, serverExamples } from './messages/examples.ts'
import { Change, PresenceMember, serverMessages } from './messages/server.ts'
import { SCHEME } from './operation.ts'
import { Op } from './schemas/state.ts'

const closing = Object.entries(closeCodes)
  .map(([code, meaning]) => `- \`${code}\`: ${meaning}`)
  .join('\n')

/** The WebSockets of a running application. */
export interface AsyncApiOptions {
  /** Of the OpenAPI document. */
  info: { title: string; version: string; license?: { name: string; url?: string } }
  /** With the port, if it is another than that of the protocol. */
  host: string
  protocol: 'ws' | 'wss'
  /** Where each is, and the schema of the parameters that it takes. */
  sockets: readonly { address: string; query: object }[]
  /** The session's cookie, if there are sessions. */
  cookie?: { name: string; description: string } | undefined
}

/**
 * The AsyncAPI 3.0 document of the WebSocket, from the schemas that also check the frames at run time.
 * A WebSocket is one channel: which space and topic a message is about stands in its payload.
 */
export function asyncApiDocument({ info, host, protocol, sockets, cookie }: AsyncApiOptions): object {
  const { license } = info
  const received = Object.values(clientMessages)
  const sent = Object.values(serverMessages)
  const examples = new Map([
    ...examplesOf(clientMessages, clientExamples),
    ...examplesOf(serverMessages, serverExamples),
  ])
  const named = sockets.map((socket, index) => ({ ...socket, suffix: index === 0 ? '' : `${index + 1}` }))
  return {
    asyncapi: '3.0.0',
    info: {
      title: info.title,
      version: info.version,
      ...(license ? { license: { name: license.name, ...(license.url ? { url: license.url } : {}) } } : {}),
      description: `JSON text frames, each an object with a \`type\`. Close codes:\n\n${closing}`,
    },
    servers: {
      default: {
        host,
        protocol,
        ...(cookie ? { security: [{ $ref: `#/components/securitySchemes/${SCHEME}` }] } : {}),
      },
    },
    channels: Object.fromEntries(
      named.map(({ suffix, address, query }) => [
        `sync${suffix}`,
        {
          address,
          title: 'Live state',
          description:
            'Connect with `?space=app` to follow that space at once; the first frame is then its fullSync (or, with `since`, what was missed). Without it, send `hello` and `subscribe`. A page is told on the socket why it is refused, by an error and a close code; others by a problem document (400, 401, 403, 429, 503; 426 without an upgrade).',
          servers: [{ $ref: '#/servers/default' }],
          messages: Object.fromEntries(
            [...received, ...sent].map((schema) => [idOf(schema), { $ref: `#/components/messages/${idOf(schema)}` }]),
          ),
          bindings: { ws: { bindingVersion: '0.1.0', method: 'GET', query } },
        },
      ]),
    ),
    operations: Object.fromEntries(
      named.flatMap(({ suffix }) => [
        [`receiveFromClient${suffix}`, operation('receive', `sync${suffix}`, received, 'What a client may send.')],
        [`sendToClient${suffix}`, operation('send', `sync${suffix}`, sent, 'What the server sends.')],
      ]),
    ),
    components: {
      ...(cookie ? { securitySchemes: { [SCHEME]: { type: 'httpApiKey', in: 'cookie', ...cookie } } } : {}),
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

function operation(action: 'send' | 'receive', channel: string, messages: TSchema[], summary: string): object {
  return {
    action,
    summary,
    channel: { $ref: `#/channels/${channel}` },
    messages: messages.map((schema) => ({ $ref: `#/channels/${channel}/messages/${idOf(schema)}` })),
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

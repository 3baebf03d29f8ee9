import type { FastifyDynamicSwaggerOptions } from '@fastify/swagger'
import { readText } from '../plugins/support/text.ts'
import type { DocumentOptions } from './document-options.ts'

export const tags = [
  { name: 'auth', description: 'Log in and out, and the profile of who is logged in.' },
  { name: 'sessions', description: 'The sessions of the logged-in user: list them and end them.' },
  { name: 'users', description: 'Accounts, read through the cache.' },
  { name: 'tokens', description: 'Access tokens for machines: make, list and revoke them.' },
  { name: 'state', description: 'Application state: a log of revisions, of which every instance holds a replica.' },
  { name: 'cache', description: 'Entries of the multi-level cache, and their invalidation.' },
  { name: 'sync', description: 'Live synchronisation over WebSocket (see `/asyncapi.json`) and server-sent events.' },
  { name: 'stats', description: 'Hit rates and counts of all services, as JSON and for Prometheus.' },
  { name: 'health', description: 'For load balancers and orchestrators.' },
  { name: 'documentation', description: 'The contract itself.' },
]

const description = `Sessions, application state, a multi-level cache and live synchronisation.

Every error is an [RFC 9457](https://www.rfc-editor.org/rfc/rfc9457) problem document
(\`application/problem+json\`) with a stable \`code\` and the \`requestId\` that is in the log.
Unknown fields in a body are refused, not ignored.`

/** The version of this package, from its manifest. */
export function packageVersion(): string {
  return (JSON.parse(readText(new URL('../package.json', import.meta.url))) as { version: string }).version
}

interface Described {
  description?: string
}

interface Responses {
  responses?: Record<string, Described & { content?: Record<string, { schema?: { $ref?: string } }> }>
}

/** What @fastify/swagger writes where a route gives a schema without a description. */
const UNDESCRIBED = 'Default Response'

/** An answer that is a component says what that component is. */
function describeResponses(document: object) {
  const { paths = {}, components } = document as {
    paths?: Record<string, Record<string, Responses>>
    components?: { schemas?: Record<string, Described> }
  }
  for (const operation of Object.values(paths).flatMap((path) => Object.values(path))) {
    for (const [status, response] of Object.entries(operation.responses ?? {})) {
      if (response.description !== UNDESCRIBED) continue
      const [media] = Object.values(response.content ?? {})
      const name = media?.schema?.$ref?.split('/').at(-1) ?? ''
      response.description = components?.schemas?.[name]?.description ?? (status === '201' ? 'Created.' : 'The result.')
    }
  }
  return document
}

/** Options of @fastify/swagger: components named by `$id`, `const` kept as OpenAPI 3.1 has it. */
export function swaggerOptions(options: DocumentOptions = {}): FastifyDynamicSwaggerOptions {
  return {
    openapi: {
      openapi: '3.1.0',
      info: {
        title: options.title ?? 'fastify-stateful',
        version: options.version ?? packageVersion(),
        description,
        license: { name: 'MIT', identifier: 'MIT' },
      },
      servers: options.servers ?? [{ url: '/', description: 'The origin that served this document' }],
      tags,
      components: {
        securitySchemes: {
          session: {
            type: 'apiKey',
            in: 'cookie',
            name: options.cookieName ?? 'sessionId',
            description: 'Set by `POST /login`; httpOnly, so a browser sends it by itself.',
          },
          bearer: {
            type: 'http',
            scheme: 'bearer',
            description:
              'An access token that an administrator made by `POST /tokens`, for machines. What an operation names beside it is the scope that the token needs.',
          },
        },
      },
      security: [{ session: [] }],
    },
    convertConstToEnum: false,
    transformObject: (document) => describeResponses('openapiObject' in document ? document.openapiObject : {}),
    refResolver: {
      buildLocalReference: (json, _baseUri, _fragment, index) => (json.$id as string | undefined) ?? `def-${index}`,
    },
  } as FastifyDynamicSwaggerOptions
}

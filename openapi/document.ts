import type { FastifyDynamicSwaggerOptions } from '@fastify/swagger'
import { packageVersion } from '../plugins/support/version.ts'
import type { OpenApiOptions } from './document-options.ts'

const description = `Sessions, application state, a multi-level cache and live synchronisation.

Every error is an [RFC 9457](https://www.rfc-editor.org/rfc/rfc9457) problem document
(\`application/problem+json\`) with a stable \`code\` and the \`requestId\` that is in the log.
Unknown fields in a body are refused, not ignored.`

/** What the reference server says of itself: all of its routes are ours. */
export function referenceDocument(): OpenApiOptions {
  return {
    info: {
      title: 'fastify-stateful',
      version: packageVersion(),
      description,
      license: { name: 'MIT', identifier: 'MIT' },
    },
  }
}

/** Options of @fastify/swagger: components named by `$id`, `const` kept as OpenAPI 3.1 has it. */
export function swaggerOptions({ info, ...application }: OpenApiOptions = {}): FastifyDynamicSwaggerOptions {
  return {
    openapi: {
      openapi: '3.1.0',
      servers: [{ url: '/', description: 'The origin that served this document' }],
      ...application,
      info: { title: 'API', version: '1.0.0', ...info },
    },
    convertConstToEnum: false,
    refResolver: {
      buildLocalReference: (json, _baseUri, _fragment, index) => (json.$id as string | undefined) ?? `def-${index}`,
    },
  } as FastifyDynamicSwaggerOptions
}

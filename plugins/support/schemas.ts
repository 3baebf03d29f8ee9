import type { TSchema } from '@sinclair/typebox'
import { Ajv, type ValidateFunction } from 'ajv'
import addFormats from 'ajv-formats'
import type { FastifyInstance, FastifySchemaCompiler } from 'fastify'

/** Makes schemas known by their `$id`, once, however many route plugins refer to them. */
export function useSchemas(fastify: FastifyInstance, ...schemas: TSchema[]): void {
  for (const schema of schemas) {
    if (schema.$id && !fastify.getSchema(schema.$id)) fastify.addSchema(schema)
  }
}

/**
 * Validates strictly inside the scope that calls it: Fastify's default drops unknown body fields and turns
 * `"1"` into `1` without a word, so a client's mistake would look like success. Query strings, parameters and
 * headers are text by nature and are still converted.
 */
export function useStrictValidation(fastify: FastifyInstance): void {
  // Fastify reads text/plain into a string, for which the schemas would answer 400; the truth is 415.
  if (fastify.hasContentTypeParser('text/plain')) fastify.removeContentTypeParser('text/plain')
  const build = (coerceTypes: boolean) => {
    const ajv = new Ajv({
      coerceTypes,
      useDefaults: true,
      removeAdditional: false,
      allErrors: false,
      // TypeBox adds keywords of its own (examples, x-…) that Ajv's strict mode would refuse.
      strict: false,
      // The compiler has checked these schemas; to check them again by the meta-schema takes half of a boot.
      meta: false,
      validateSchema: false,
    })
    addFormats.default(ajv)
    for (const schema of Object.values(fastify.getSchemas())) ajv.addSchema(schema as TSchema)
    return ajv
  }
  // Built at the first route that compiles: by then every schema of the scope has been added.
  let body: Ajv | undefined
  let text: Ajv | undefined
  const compile: FastifySchemaCompiler<TSchema> = ({ schema, httpPart }): ValidateFunction => {
    if (httpPart === 'body') {
      body ??= build(false)
      return body.compile(schema)
    }
    text ??= build(true)
    return text.compile(schema)
  }
  fastify.setValidatorCompiler(compile)
}

import type { TSchema } from '@sinclair/typebox'
import { Ajv, type ErrorObject, type Options, type ValidateFunction } from 'ajv'
import addFormats from 'ajv-formats'
import type { FastifyInstance, FastifySchemaCompiler } from 'fastify'
import { JsonTooDeepError, NameClashError } from './errors.ts'
import { nonFinitePlace } from './json.ts'
import { isTooDeep, MAX_JSON_DEPTH } from './json-depth.ts'

/** By the server: the schemas of ours that its scopes use, with the plugin that used each first. */
const used = new WeakMap<object, Map<string, { schema: TSchema; plugin: string }>>()

/**
 * Makes schemas of ours known by their `$id`, once, however many route plugins refer to them. Applications use it for
 * those that they refer to in their own routes.
 *
 * @throws STATEFUL_NAME_CLASH at boot, when the application has another schema of that name. (One that it adds later, to a
 * scope around this one, is refused by Fastify.)
 *
 * @example
 * ```ts
 * import { reference, User, useSchemas } from 'fastify-stateful/schemas'
 *
 * useSchemas(app, User)
 * app.get('/team', { schema: { response: { 200: Type.Array(reference(User)) } } }, readTeam)
 * ```
 */
export function useSchemas(fastify: FastifyInstance, ...schemas: TSchema[]): void {
  const ours = used.get(fastify.server) ?? new Map<string, { schema: TSchema; plugin: string }>()
  used.set(fastify.server, ours)
  for (const schema of schemas) {
    if (!schema.$id) throw new TypeError('a schema that is referred to needs an $id')
    if (!ours.has(schema.$id)) ours.set(schema.$id, { schema, plugin: fastify.pluginName })
    if (fastify.getSchema(schema.$id)) refuseNamesake(fastify, schema.$id)
    else fastify.addSchema(schema)
  }
}

/**
 * Looks for schemas of the application in a scope that are called as one of ours is.
 * @throws STATEFUL_NAME_CLASH
 */
export function refuseNamesakes(scope: FastifyInstance): void {
  for (const id of used.get(scope.server)?.keys() ?? []) refuseNamesake(scope, id)
}

function refuseNamesake(scope: FastifyInstance, id: string): void {
  const there = scope.getSchema(id) as TSchema | undefined
  const ours = used.get(scope.server)?.get(id)
  if (!there || !ours || JSON.stringify(there) === JSON.stringify(ours.schema)) return
  const title = typeof there.title === 'string' ? ` (${there.title})` : ''
  throw new NameClashError(`schema '${id}'${title}`, `a schema of '${ours.plugin}'`)
}

/** The validator of everything that comes from outside, over HTTP and over sockets. */
export function strictAjv(options: Options = {}): Ajv {
  const ajv = new Ajv({
    removeAdditional: false,
    allErrors: false,
    // TypeBox adds keywords of its own (examples, x-…) that Ajv's strict mode would refuse.
    strict: false,
    // Which `strict: false` switches off as well: `1e999` would be a number.
    strictNumbers: true,
    // The compiler has checked these schemas; to check them again by the meta-schema takes half of a boot.
    meta: false,
    validateSchema: false,
    ...options,
  })
  addFormats.default(ajv)
  return ajv
}

/** What validates a part of a request; its errors are those of the last call. */
interface Validation {
  (data: unknown): boolean
  errors?: ErrorObject[] | null | undefined
}

/**
 * Refuses what a schema cannot see: numbers that are none where any JSON may stand, and text such as `?limit=1e999`,
 * which becomes Infinity when it is converted. The schema is compiled when the first request is checked.
 */
function withFiniteNumbers(compile: () => ValidateFunction): Validation {
  let validate: ValidateFunction | undefined
  const check: Validation = (data) => {
    validate ??= compile()
    check.errors = null
    if (!validate(data)) {
      check.errors = validate.errors
      return false
    }
    const instancePath = nonFinitePlace(data)
    if (instancePath === undefined) return true
    const message = 'must be a finite number'
    check.errors = [{ instancePath, message, keyword: 'finite', schemaPath: '#', params: {} }]
    return false
  }
  return check
}

/**
 * Takes any JSON as a body inside the scope that calls it. Fastify's default refuses fields that are called `__proto__` or
 * `constructor`; what is stored here is copied field by field, for which they are fields like any other.
 */
export function useAnyFieldName(fastify: FastifyInstance): void {
  if (fastify.hasContentTypeParser('application/json')) fastify.removeContentTypeParser('application/json')
  const parse = fastify.getDefaultJsonParser('ignore', 'ignore')
  fastify.addContentTypeParser<string>('application/json', { parseAs: 'string' }, parse)
}

/**
 * Validates strictly inside the scope that calls it: Fastify's default drops unknown body fields and turns
 * `"1"` into `1` without a word, so a client's mistake would look like success. Query strings, parameters and
 * headers are text by nature and are still converted. Nowhere is a number accepted that JSON cannot say (`1e999`).
 */
export function useStrictValidation(fastify: FastifyInstance): void {
  // Fastify reads text/plain into a string, for which the schemas would answer 400; the truth is 415.
  if (fastify.hasContentTypeParser('text/plain')) fastify.removeContentTypeParser('text/plain')
  // Before any schema, which would follow the levels by calling itself.
  fastify.addHook('preValidation', (request, _reply, done) =>
    isTooDeep(request.body) ? done(new JsonTooDeepError(MAX_JSON_DEPTH)) : done(),
  )
  const build = (coerceTypes: boolean) => {
    const ajv = strictAjv({ coerceTypes, useDefaults: true })
    for (const schema of Object.values(fastify.getSchemas())) ajv.addSchema(schema as TSchema)
    return ajv
  }
  // Built at the first request, as every validator is: to compile all of them takes a tenth of a boot.
  let body: Ajv | undefined
  let text: Ajv | undefined
  const compile: FastifySchemaCompiler<TSchema> = ({ schema, httpPart }) => {
    const validation = withFiniteNumbers(() => {
      if (httpPart === 'body') {
        body ??= build(false)
        return body.compile(schema)
      }
      text ??= build(true)
      return text.compile(schema)
    })
    return validation as ReturnType<FastifySchemaCompiler<TSchema>>
  }
  fastify.setValidatorCompiler(compile)
}

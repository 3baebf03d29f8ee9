import type { FastifyInstance, FastifySchema, RouteOptions } from 'fastify'
import { CSRF_REFUSALS, type CsrfRefusal } from '../plugins/security/csrf.ts'
import type { SessionCookies } from '../plugins/session/request/signed-cookies.ts'
import { exampleOf, type ProblemCode, type Refused } from './problem-examples.ts'
import { type ProblemResponse, type ProblemStatus, problemResponse } from './schemas/responses.ts'
import { tags } from './tags.ts'

/** What @fastify/swagger hands to the transformation of a route. One of the documents is there. */
interface Transformed {
  schema: FastifySchema | undefined
  url: string
  route: Pick<RouteOptions, 'method' | 'config'>
  openapiObject?: OpenApi
  swaggerObject?: object
}

interface Tag {
  name: string
  description?: string
}

interface OpenApi {
  tags?: Tag[]
  components?: { securitySchemes?: Record<string, unknown> }
}

type SecurityRequirement = Record<string, readonly string[]>
type Response = ProblemResponse | Record<string, unknown>

/** What of an operation's schema is for the documents alone. */
interface OperationSchema extends FastifySchema {
  hide?: boolean
  tags?: readonly string[]
  security?: readonly SecurityRequirement[]
  response?: Record<string, Response>
}

/** The session's cookie as a security scheme; another one for each cookie of another name. */
export const SCHEME = 'statefulSession'

/** Access tokens as a security scheme. */
const TOKEN_SCHEME = 'statefulToken'
const TOKEN = {
  type: 'http',
  scheme: 'bearer',
  description:
    'An access token, which an administrator makes for a machine. What an operation names beside it is the scope that the token needs.',
}

/** The transformations that are ours. */
const ours = new WeakSet<object>()

/**
 * From here on, @fastify/swagger describes the routes of this scope, in a document of ours or of the application, with
 * what the running instance adds to their schemas: the session's cookie as it is called here, and the answers of the hooks
 * around them. The document gets what they refer to, the security scheme and the description of the tag. A `transform` of
 * the application is for its own routes.
 */
export function describeRoutes(scope: FastifyInstance): void {
  const swaggerTransform = ({ schema, url, route, openapiObject, swaggerObject }: Transformed) => {
    const operation = schema as OperationSchema | undefined
    if (!operation || operation.hide) return { schema, url }
    const response = completed(scope, operation, url, route)
    // What a route asks for is told in the words of the running instance.
    const { security: asked, ...rest } = operation
    // Swagger 2.0 knows neither media types of an answer nor cookies.
    if (swaggerObject || !openapiObject) return { schema: { ...rest, response: plain(response) }, url }
    describeTags(openapiObject, operation.tags ?? [])
    const security = asked?.length === 0 ? asked : securityOf(scope, openapiObject, asked)
    return { schema: { ...rest, response, ...(security ? { security } : {}) }, url }
  }
  ours.add(swaggerTransform)
  scope.addHook('onRoute', (route) => {
    route.config = { ...route.config, swaggerTransform } as NonNullable<typeof route.config>
  })
}

/** Whether a route is one of those that {@link describeRoutes} describes. */
export function isOurs({ config }: Pick<RouteOptions, 'config'>): boolean {
  const { swaggerTransform } = (config ?? {}) as { swaggerTransform?: object }
  return swaggerTransform !== undefined && ours.has(swaggerTransform)
}

function describeTags(document: OpenApi, used: readonly string[]): void {
  const known = document.tags ?? []
  const theirs = known.filter((tag) => !tags.includes(tag))
  const isMissing = ({ name }: Tag) => used.includes(name) && !theirs.some((tag) => tag.name === name)
  document.tags = [...theirs, ...tags.filter((tag) => known.includes(tag) || isMissing(tag))]
}

/** Without sessions it is the application that decides, by `authorize`: what its document says of all operations holds. */
function securityOf(
  fastify: FastifyInstance,
  document: OpenApi,
  asked: readonly SecurityRequirement[] = [],
): SecurityRequirement[] | undefined {
  const session = sessionOf(fastify, document) ?? []
  const scopes = fastify.hasDecorator('accessTokens') ? asked.flatMap(({ bearer }) => (bearer ? [bearer] : [])) : []
  if (scopes.length > 0) {
    const schemes = document.components?.securitySchemes ?? {}
    document.components = { ...document.components, securitySchemes: { ...schemes, [TOKEN_SCHEME]: TOKEN } }
  }
  const security = [...session, ...scopes.map((scope) => ({ [TOKEN_SCHEME]: scope }))]
  return security.length > 0 ? security : undefined
}

function sessionOf(fastify: FastifyInstance, document: OpenApi): SecurityRequirement[] | undefined {
  if (!fastify.hasDecorator('sessionCookies')) return undefined
  const { cookie } = fastify.getDecorator<SessionCookies>('sessionCookies')
  const schemes = document.components?.securitySchemes ?? {}
  const scheme = { type: 'apiKey', in: 'cookie', name: cookie.name, description: describeCookie(cookie) }
  const taken = schemes[SCHEME] as { name?: string } | undefined
  const name = taken && taken.name !== cookie.name ? `${SCHEME}.${cookie.name}` : SCHEME
  document.components = { ...document.components, securitySchemes: { ...schemes, [name]: scheme } }
  return [{ [name]: [] }]
}

/** What sets the session's cookie, and how. */
export function describeCookie({ options }: SessionCookies['cookie']): string {
  const { httpOnly, sameSite, secure, path, domain, maxAge, partitioned } = options
  const attributes = [
    httpOnly && 'HttpOnly',
    secure === true && 'Secure',
    secure === 'auto' && 'Secure over HTTPS',
    sameSite && `SameSite=${sameSite === true ? 'Strict' : sameSite[0]?.toUpperCase() + sameSite.slice(1)}`,
    path && `Path=${path}`,
    domain && `Domain=${domain}`,
    maxAge !== undefined && `Max-Age=${Math.floor(maxAge / 1_000)}`,
    partitioned && 'Partitioned',
  ].filter(Boolean)
  return `The session. Set at the login (${attributes.join(', ')}); a browser sends it by itself.`
}

/** The problems with an example of each code, those of the hooks among them. */
function completed(
  fastify: FastifyInstance,
  operation: OperationSchema,
  url: string,
  { method, config }: Transformed['route'],
): Record<string, Response> {
  const response = { ...operation.response }
  for (const [status, codes] of answersOfHooks(fastify, url, `${method}`, config as Config | undefined)) {
    const known = (response[status] as ProblemResponse | undefined)?.codes ?? []
    response[status] = problemResponse(status, [...new Set([...known, ...codes])])
  }
  for (const [status, answer] of Object.entries(response)) {
    if ('codes' in answer) response[status] = withExamples(answer as ProblemResponse, refusedPart(operation))
  }
  return response
}

interface Config {
  csrf?: boolean
  pressure?: boolean
}

function* answersOfHooks(
  fastify: FastifyInstance,
  url: string,
  method: string,
  config: Config = {},
): Generator<[ProblemStatus, ProblemCode[]]> {
  if (url.includes(':')) yield [414, ['STATEFUL_URI_TOO_LONG']]
  if (config.csrf !== false && method !== 'GET' && fastify.hasDecorator(CSRF_REFUSALS)) {
    yield [403, fastify.getDecorator<CsrfRefusal[]>(CSRF_REFUSALS)]
  }
  if (config.pressure !== false && fastify.hasDecorator('isUnderPressure')) yield [503, ['STATEFUL_OVERLOADED']]
}

/** What a schema refuses first. */
function refusedPart({ body, querystring, params, headers }: OperationSchema): Refused {
  if (body) return 'body'
  if (querystring) return 'querystring'
  if (params) return 'params'
  return headers ? 'headers' : 'body'
}

function withExamples({ codes, content, ...rest }: ProblemResponse, refused: Refused): Record<string, unknown> {
  const examples = Object.fromEntries(codes.map((code) => [code, { value: exampleOf(code, refused) }]))
  const media = { ...content['application/problem+json'], examples }
  return { ...rest, content: { 'application/problem+json': media } }
}

/** Of each answer its one schema. */
function plain(response: Record<string, Response>): Record<string, object> {
  return Object.fromEntries(
    Object.entries(response).map(([status, answer]) => {
      const { content, examples, ...rest } = answer as {
        content?: Record<string, { schema: object }>
        examples?: unknown
      }
      const [media] = Object.values(content ?? {})
      return [status, { ...rest, ...media?.schema }]
    }),
  )
}

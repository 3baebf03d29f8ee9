/**
 * Walks through what is registered, what the document says and what is really answered, on three set-ups, and finds no
 * difference: the reference server, the same under a prefix behind a proxy, and single plugins.
 */
import { randomBytes } from 'node:crypto'
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import httpProxy from '@fastify/http-proxy'
import { Ajv2020, type ValidateFunction } from 'ajv/dist/2020.js'
import formats from 'ajv-formats'
import Fastify, { type FastifyInstance, type FastifyRequest, type RouteOptions } from 'fastify'
import t, { type Test } from 'tap'
import { build } from '../../app.ts'
import { cache } from '../../plugins/cache/index.ts'
import { documentation } from '../../plugins/documentation/index.ts'
import { problems, serverOptions } from '../../plugins/problems/index.ts'
import { state } from '../../plugins/state/index.ts'
import { storage } from '../../plugins/storage/index.ts'
import { cacheRoutes } from '../../routes/cache/index.ts'
import { healthRoutes } from '../../routes/health/index.ts'
import { stateRoutes } from '../../routes/state/index.ts'
import { SECRET } from '../fixtures/credentials.ts'
import { eventually } from '../fixtures/eventually.ts'

interface Media {
  schema?: { $ref?: string; examples?: unknown[] }
  examples?: Record<string, unknown>
  example?: unknown
}

interface Operation {
  operationId: string
  security?: Record<string, string[]>[]
  parameters?: { name: string; in: string; required?: boolean; example?: unknown }[]
  requestBody?: { content: Record<string, Media> }
  responses: Record<string, { content?: Record<string, Media> }>
}

interface Document {
  paths: Record<string, Record<string, Operation>>
  components: {
    schemas: Record<string, { examples?: unknown[] }>
    securitySchemes?: Record<string, { name: string }>
  }
}

/**
 * Makes an application, and what it registers, as documents write it. Pages and WebSockets are no operations.
 * Fastify tells of a new instance before anybody can register anything.
 */
async function recording(make: () => Promise<FastifyInstance>) {
  const registered: RouteOptions[] = []
  const record = (message: unknown) => {
    const { fastify } = message as { fastify: FastifyInstance }
    fastify.addHook('onRoute', (route) => {
      registered.push(route)
    })
  }
  subscribe('fastify.initialization', record)
  const app = await make()
  unsubscribe('fastify.initialization', record)
  return { app, routes: () => new Set(registered.flatMap(asDocumented)) }
}

function asDocumented({ method, url, schema }: RouteOptions): string[] {
  const { hide } = (schema ?? {}) as { hide?: boolean }
  return hide || method === 'HEAD' ? [] : [`${method} ${url.replaceAll(/:(\w+)/g, '{$1}')}`]
}

class Judge {
  readonly differences: string[] = []
  answers = 0
  readonly #document: Document
  readonly #ajv = new Ajv2020({ strict: false })
  readonly #checks = new Map<string, ValidateFunction>()

  constructor(document: Document) {
    this.#document = document
    formats.default(this.#ajv)
    this.#ajv.addSchema(document as object, 'document')
  }

  get operations() {
    return Object.entries(this.#document.paths).flatMap(([path, methods]) =>
      Object.entries(methods).map(([method, operation]) => ({ path, method: method.toUpperCase(), operation })),
    )
  }

  /** The first example of the document. */
  bodyOf({ requestBody }: Operation): object | undefined {
    const schema = requestBody?.content['application/json']?.schema
    const name = schema?.$ref?.split('/').at(-1) ?? ''
    return (schema?.examples ?? this.#document.components.schemas[name]?.examples)?.[0] as object | undefined
  }

  judge(path: string, method: string, operation: Operation, what: string, answer: Answer): void {
    this.answers += 1
    const type = answer.type.split(';')[0] ?? ''
    const declared = operation.responses[answer.status]
    const say = (fault: string) => this.differences.push(`${operation.operationId}, ${what}: ${answer.status} ${fault}`)
    if (!declared) return void say(`is not declared: ${answer.text.slice(0, 200)}`)
    const types = Object.keys(declared.content ?? {})
    if (types.length === 0) return void (answer.text === '' || say('has a body'))
    if (!types.includes(type)) return void say(`as ${type}`)
    if (!/json$/.test(type)) return
    const value = JSON.parse(answer.text) as { code?: string }
    const pointer = ['paths', path, method.toLowerCase(), 'responses', `${answer.status}`, 'content', type, 'schema']
    const reference = `document#/${pointer.map((part) => encodeURIComponent(part.replaceAll('~', '~0').replaceAll('/', '~1'))).join('/')}`
    const check = this.#checks.get(reference) ?? this.#ajv.compile({ $ref: reference })
    this.#checks.set(reference, check)
    if (!check(value)) say(`against its schema: ${this.#ajv.errorsText(check.errors)}`)
    const codes = declared.content?.[type]?.examples
    if (codes && value.code !== undefined && !(value.code in codes))
      say(`${value.code} is none of ${Object.keys(codes)}`)
  }
}

interface Answer {
  status: number
  type: string
  text: string
}

/** Milliseconds for an answer. */
const DEADLINE = 2_000

type Ask = (method: string, path: string, headers: Record<string, string>, body?: string) => Promise<Answer>

/** Requests of every kind that hooks and handlers tell apart, each operation's own example among them. */
async function walk(
  judge: Judge,
  ask: Ask,
  session: () => Promise<Record<string, string>>,
  // A proxy in between has limits of its own, and answers for itself when a body is cut.
  large = true,
): Promise<void> {
  const json = { 'content-type': 'application/json' }
  // What ends the session comes last.
  const rank = ({ operation }: { operation: Operation }) =>
    /logout|end(Other)?Sessions?/.test(operation.operationId) ? 1 : 0
  for (const { path, method, operation } of judge.operations.sort((a, b) => rank(a) - rank(b))) {
    const { parameters = [] } = operation
    const body = judge.bodyOf(operation)
    const text = body && JSON.stringify(body)
    const fill = (value?: string) =>
      path.replaceAll(/\{(\w+)\}/g, (_, name) => {
        const parameter = parameters.find((one) => one.in === 'path' && one.name === name)
        return encodeURIComponent(value ?? `${parameter?.example ?? 'a'}`)
      })
    const required = parameters.some(({ name }) => name === 'since' && operation.operationId === 'listStateChanges')
    const url = `${fill()}${required ? '?since=oldest' : ''}`
    const send = async (what: string, to: string, headers: Record<string, string>, payload?: string) => {
      const answer = await ask(method, to, headers, payload).catch((error: Error) => error)
      if (answer instanceof Error) judge.differences.push(`${operation.operationId}, ${what}: ${answer.message}`)
      else judge.judge(path, method, operation, what, answer)
    }
    const withBody = text === undefined ? {} : json
    await send('by nobody', url, withBody, text)
    const cookie = await session()
    // A stream has no end; its refusals are judged like all others.
    const isStream = operation.responses['200']?.content?.['text/event-stream']
    if (!isStream) await send('as its example says', url, { ...withBody, ...cookie }, text)
    await send('with a parameter that there is not', `${fill()}?nonsense=1`, { ...withBody, ...cookie }, text)
    if (path.includes('{')) {
      await send('with a part that is too long', fill('x'.repeat(3_000)), { ...withBody, ...cookie }, text)
      await send('about nothing', fill('nothing'), { ...withBody, ...cookie }, text)
    }
    if (method === 'GET') continue
    await send(
      'from another site',
      url,
      { ...withBody, 'sec-fetch-site': 'cross-site', origin: 'https://evil.example' },
      text,
    )
    await send('as text', url, { 'content-type': 'text/plain', ...cookie }, 'text')
    await send('as no JSON', url, { ...json, ...cookie }, '{')
    if (large) await send('as too much', url, { ...json, ...cookie }, JSON.stringify('x'.repeat(1_100_000)))
    await send('with a field that there is not', url, { ...json, ...cookie }, '{"nonsense":1}')
  }
}

/** What is registered is documented, and nothing else is. */
function compare(t: Test, routes: Set<string>, judge: Judge): void {
  t.strictSame(judge.operations.map(({ method, path }) => `${method} ${path}`).sort(), [...routes].sort())
}

async function answerOf(response: Response): Promise<Answer> {
  return { status: response.status, type: response.headers.get('content-type') ?? '', text: await response.text() }
}

const asking =
  (base: string, more: Record<string, string> = {}): Ask =>
  async (method, path, headers, body) =>
    answerOf(
      await fetch(base + path, {
        method,
        signal: AbortSignal.timeout(DEADLINE),
        headers: { ...more, ...headers },
        ...(body === undefined ? {} : { body }),
      }),
    )

/** Good enough for production. */
const PASSWORD = 'violin-harbour-42-teapot'

/** Logs in, and anew when the session has ended: with the cookie that the document names. */
function loggingIn(base: string, document: Pick<Document, 'components'>, password = PASSWORD) {
  const name = document.components.securitySchemes?.['statefulSession']?.name
  let session: { cookie: string } | undefined
  return async () => {
    const profile = session && (await fetch(`${base}/profile`, { headers: session }))
    if (session && profile?.status === 200) return session
    const headers = { 'content-type': 'application/json' }
    const body = JSON.stringify({ username: 'admin', password })
    const logIn = () => fetch(`${base}/login`, { method: 'POST', headers, body })
    let response = await logIn()
    // A busy machine is told of by 503, which is as documented.
    await eventually(async () => {
      if (response.status === 503) response = await logIn()
      return response.status !== 503
    }, 20_000)
    const cookie = response.headers.getSetCookie().find((line) => line.startsWith(`${name}=`))
    if (!cookie) throw new Error(`no cookie ${name}: ${await response.text()}`)
    session = { cookie: cookie.split(';')[0] ?? '' }
    return session
  }
}

const reference = { storage: 'memory:', secret: SECRET, adminPassword: PASSWORD }

t.test('the reference server', async (t) => {
  const { app, routes } = await recording(() => build(reference))
  t.teardown(() => app.close())
  const base = await app.listen({ port: 0, host: '127.0.0.1' })
  const document = (await (await fetch(`${base}/openapi.json`)).json()) as Document
  const judge = new Judge(document)
  compare(t, routes(), judge)
  await walk(judge, asking(base), loggingIn(base, document))
  t.ok(judge.answers > 200, `${judge.answers} answers`)
  t.strictSame(judge.differences, [])
})

t.test('the same under a prefix, behind a proxy that ends TLS', async (t) => {
  const production = {
    production: true,
    prefix: '/api',
    trustProxy: ['127.0.0.1'],
    secret: randomBytes(32).toString('base64url'),
  }
  const { app, routes } = await recording(() => build({ ...reference, ...production }))
  t.teardown(() => app.close())
  const upstream = await app.listen({ port: 0, host: '127.0.0.1' })
  const proxy = Fastify({ bodyLimit: 4_194_304 })
  t.teardown(() => proxy.close())
  const forwarded = {
    'x-forwarded-proto': 'https',
    'x-forwarded-host': 'shop.example',
    'x-forwarded-for': '203.0.113.7',
  }
  await proxy.register(httpProxy, {
    upstream,
    replyOptions: {
      rewriteRequestHeaders: (_request, headers) => ({ ...headers, ...forwarded, host: 'shop.example' }),
    },
  })
  const base = await proxy.listen({ port: 0, host: '127.0.0.1' })
  const login = loggingIn(`${base}/api`, {
    components: { schemas: {}, securitySchemes: { statefulSession: { name: '__Host-sid' } } },
  })
  const headers = await login()
  const read = async (name: string) => (await fetch(`${base}/api/${name}`, { headers })).json()
  const document = (await read('openapi.json')) as Document
  t.match(document.components.securitySchemes, {
    statefulSession: { name: '__Host-sid', description: /HttpOnly, Secure, SameSite=Lax, Path=\// },
  })
  t.match(await read('asyncapi.json'), {
    servers: { default: { host: 'shop.example', protocol: 'wss' } },
    channels: { sync: { address: '/api/sync' } },
    components: { securitySchemes: { statefulSession: { in: 'cookie', name: '__Host-sid' } } },
  })
  const judge = new Judge(document)
  compare(t, routes(), judge)
  await walk(judge, asking(base), login, false)
  t.strictSame(judge.differences, [])
})

t.test('single plugins of an application, with a rule of its own and nobody logged in', async (t) => {
  const token = { authorization: 'Bearer a-token' }
  const authorize = ({ headers }: FastifyRequest) => headers.authorization === token.authorization
  const { app, routes } = await recording(async () => {
    // Without these options Fastify answers in its own words what it refuses before it knows a route.
    const app = Fastify(serverOptions())
    await app.register(problems)
    await app.register(storage, { storage: 'memory:' })
    await app.register(cache)
    await app.register(state)
    await app.register(documentation, {
      openapi: {
        security: [{ token: [] }],
        components: { securitySchemes: { token: { type: 'http', scheme: 'bearer' } } },
      },
    })
    await app.register(healthRoutes)
    await app.register(cacheRoutes, { prefix: '/internal', authorize })
    await app.register(stateRoutes, { prefix: '/internal', authorize })
    return app
  })
  t.teardown(() => app.close())
  const base = await app.listen({ port: 0, host: '127.0.0.1' })
  const document = (await (await fetch(`${base}/openapi.json`)).json()) as Document
  t.strictSame(Object.keys(document.components.securitySchemes ?? {}), ['token'], 'there is no cookie')
  for (const { operation } of new Judge(document).operations) {
    t.ok(operation.security === undefined || operation.security.length === 0, operation.operationId)
    t.notOk(JSON.stringify(operation).includes('CROSS_SITE'), 'nor what refuses other sites')
  }
  t.notOk(document.paths['/asyncapi.json'], 'nor a WebSocket')
  const judge = new Judge(document)
  compare(t, routes(), judge)
  await walk(judge, asking(base), async () => token)
  t.strictSame(judge.differences, [])
})

/** Hosts with an @fastify/swagger of their own: their document stays theirs, with our operations in it. */
import swagger, { type SwaggerOptions } from '@fastify/swagger'
import swaggerUi from '@fastify/swagger-ui'
import type { FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import { type DocumentationOptions, documentation } from '../../../plugins/documentation/index.ts'
import { type Document, newHost, orders, useStateful } from './host.ts'

const theirs = {
  openapi: {
    openapi: '3.1.0',
    info: { title: 'Shop', version: '2.1.0' },
    tags: [{ name: 'orders', description: 'What is sold.' }],
    components: { securitySchemes: { key: { type: 'apiKey', in: 'header', name: 'x-key' } } },
    security: [{ key: [] }],
  },
} satisfies SwaggerOptions

/** What the host says stays as it is, and what we say stands on our operations only. */
function isTheirs(t: Test, document: Document) {
  const { info, security, tags, components, paths } = document
  t.strictSame(info, theirs.openapi.info)
  t.strictSame(security, theirs.openapi.security)
  t.strictSame(tags?.[0], theirs.openapi.tags[0])
  t.strictSame(components.securitySchemes?.['key'], theirs.openapi.components.securitySchemes.key)
  const order = paths['/orders']?.['get']
  t.strictSame(order?.security, undefined, 'what the host says of all its operations holds')
  t.notMatch(JSON.stringify(order), /stateful/i)
  t.strictSame(paths['/api/state']?.['get']?.security, [{ statefulSession: [] }])
  t.equal(components.securitySchemes?.['statefulSession']?.name, 'sid')
  t.strictSame(paths['/api/login']?.['post']?.security, [])
}

async function start(t: Test, register: (app: FastifyInstance) => Promise<void>) {
  const app = newHost(t)
  await register(app)
  await app.ready()
  return { app, served: (await app.inject('/openapi.json')).json() as Document }
}

t.test('@fastify/swagger before us', async (t) => {
  const { app, served } = await start(t, async (app) => {
    await app.register(swagger, theirs)
    await app.register(swaggerUi)
    await app.register(documentation)
    await useStateful(app, '/api')
    await app.register(orders)
  })
  isTheirs(t, served)
  t.strictSame(served, JSON.parse(JSON.stringify(app.swagger())), 'it is the one that is served')
  for (const url of ['/documentation', '/docs', '/docs/json']) t.equal((await app.inject(url)).statusCode, 200, url)
})

t.test('@fastify/swagger after us', async (t) => {
  const { app, served } = await start(t, async (app) => {
    await app.register(documentation)
    await app.register(swagger, theirs)
    await app.register(swaggerUi)
    await useStateful(app, '/api')
    await app.register(orders)
  })
  isTheirs(t, served)
  t.strictSame(served, JSON.parse(JSON.stringify(app.swagger())))
  t.strictSame((await app.inject('/docs/json')).json(), served, 'our page shows it')
  t.strictSame((await app.inject('/documentation/json')).json(), served, 'and so does theirs')
})

t.test('without `documentation` at all, ours are in their document', async (t) => {
  const app = newHost(t)
  await app.register(swagger, theirs)
  await useStateful(app, '/api')
  await app.register(orders)
  await app.ready()
  isTheirs(t, app.swagger() as unknown as Document)
})

t.test('an @fastify/swagger that comes after our routes does not see them, and the log says so', async (t) => {
  const lines: string[] = []
  const app = newHost(t, { logger: { level: 'warn', stream: { write: (line: string) => void lines.push(line) } } })
  await app.register(documentation, { openapi: { info: { title: 'Unused' } } })
  await useStateful(app)
  await app.register(swagger, theirs)
  await app.ready()
  const warnings = lines.map((line) => JSON.parse(line) as { msg: string; routes?: string[] })
  t.ok(warnings.some(({ routes }) => routes?.includes('POST /login')))
  t.ok(warnings.some(({ msg }) => /`openapi` is not used/.test(msg)))
})

for (const [name, options] of Object.entries({
  'OpenAPI 3.0, its default': { openapi: {} },
  'Swagger 2.0, the other default': {},
  'a transform of its own': { openapi: {}, transform: ({ schema, url }) => ({ schema, url: `/public${url}` }) },
} satisfies Record<string, SwaggerOptions>)) {
  t.test(`a document in ${name}`, async (t) => {
    const { served } = await start(t, async (app) => {
      await app.register(swagger, options)
      await app.register(documentation)
      await useStateful(app)
      await app.register(orders)
    })
    t.ok(served.paths['/login']?.['post'])
    t.ok(served.paths['transform' in options ? '/public/orders' : '/orders'])
    const references = [
      ...JSON.stringify(served).matchAll(/"\$ref":"#\/(?:components\/schemas|definitions)\/([^"]+)"/g),
    ]
    t.ok(references.length > 50)
    const known = { ...(served as { definitions?: object }).definitions, ...served.components?.schemas }
    for (const [, id = ''] of references) t.ok(id in known, id)
    t.equal(
      Object.keys(served.paths['/login']?.['post']?.responses ?? {}).join(),
      '200,400,401,403,409,413,415,429,500,503,507',
    )
  })
}

t.test('what the application says of itself without an @fastify/swagger', async (t) => {
  const options: DocumentationOptions = {
    openapi: {
      info: { title: 'Shop', description: 'Sells things.' },
      servers: [{ url: 'https://shop.example' }],
      tags: [{ name: 'orders', description: 'What is sold.' }],
      security: [{ key: [] }],
      components: { securitySchemes: { key: { type: 'apiKey', in: 'header', name: 'x-key' } } },
    },
  }
  const { app, served } = await start(t, async (app) => {
    await app.register(documentation, options)
    await useStateful(app, '/api')
    await app.register(orders)
  })
  t.strictSame(served.info, { title: 'Shop', version: '1.0.0', description: 'Sells things.' }, 'no licence of ours')
  t.strictSame(served.servers, options.openapi?.servers)
  t.strictSame(served.security, options.openapi?.security)
  t.strictSame(
    served.tags?.map(({ name }) => name),
    ['orders', 'auth', 'users', 'state', 'cache', 'sync', 'documentation'],
  )
  t.strictSame(served.paths['/orders']?.['get']?.security, undefined)
  t.strictSame(served.paths['/api/state']?.['get']?.security, [{ statefulSession: [] }])
  t.match(app.swagger(), { info: { title: 'Shop' } }, 'which the application has by the usual decorator')
})

t.test('without a word of the application the title is neutral', async (t) => {
  const { served } = await start(t, async (app) => {
    await app.register(documentation)
    await app.register(orders)
  })
  t.strictSame(served.info, { title: 'API', version: '1.0.0' })
  t.equal(served.security, undefined)
  t.notOk(served.components.securitySchemes, 'there are no sessions')
  t.notOk(served.paths['/asyncapi.json'], 'and no WebSocket')
})

t.test('what belongs to an own @fastify/swagger is refused here', async (t) => {
  const app = newHost(t)
  await app.register(swagger, theirs)
  await t.rejects(async () => app.register(documentation, { openapi: { info: { title: 'Shop' } } }), {
    code: 'STATEFUL_INVALID_OPTION',
    message: /give it to your @fastify\/swagger/,
  })
})

import { readFile } from 'node:fs/promises'
import t from 'tap'
import { build } from '../../app.ts'
import { tags } from '../../openapi/tags.ts'
import { generate } from '../../scripts/export-openapi.ts'

const root = new URL('../../', import.meta.url)

interface Operation {
  operationId?: string
  tags?: string[]
  summary?: string
  security?: object[]
  requestBody?: { required?: boolean; content: Record<string, { schema?: object }> }
  parameters?: { name: string; in: string; schema?: object }[]
  responses: Record<string, { description?: string; content?: Record<string, { schema?: unknown }> }>
}

interface Document {
  openapi: string
  paths: Record<string, Record<string, Operation>>
  components: { schemas: Record<string, object>; securitySchemes: object }
  tags: { name: string }[]
}

const generated = await generate()
const document = JSON.parse(generated.get('openapi/openapi.json') ?? '') as Document
const operations = Object.entries(document.paths).flatMap(([path, methods]) =>
  Object.entries(methods).map(([method, operation]) => ({
    name: `${method.toUpperCase()} ${path}`,
    path,
    method,
    operation,
  })),
)

t.test('the committed documents are those that the code generates; run `npm run openapi`', async (t) => {
  t.same(
    [...generated.keys()],
    ['openapi/openapi.json', 'openapi/asyncapi.json', 'docs/access.md', 'docs/cli.md', 'client/api.d.ts'],
  )
  for (const [path, text] of generated) {
    const committed = await readFile(new URL(path, root), 'utf8').catch(() => '')
    // Not t.equal: its difference of two long documents would bury the message.
    t.ok(committed === text, `${path} is current`)
  }
})

t.test('generating twice gives the same text', async (t) => {
  const again = await generate()
  for (const [path, text] of generated) t.ok(again.get(path) === text, path)
})

t.test('each operation has a unique name, one known tag, and a summary', async (t) => {
  const seen = new Map<string, string>()
  for (const { name, operation } of operations) {
    const { operationId = '' } = operation
    t.match(operationId, /^(login|logout|[a-z]+[A-Z][A-Za-z]*)$/, `${name} is named verbNoun`)
    t.notOk(seen.has(operationId), `${name}: ${operationId} is not also ${seen.get(operationId)}`)
    seen.set(operationId, name)
    t.equal(operation.tags?.length, 1, `${name} has one tag`)
    t.ok(
      tags.some((tag) => tag.name === operation.tags?.[0]),
      `${name}: ${operation.tags} is described`,
    )
    t.match(operation.summary, /^[A-Z].{3,78}[^.]$/, `${name} has a summary`)
  }
  for (const { name } of tags) {
    t.ok(
      operations.some(({ operation }) => operation.tags?.includes(name)),
      `tag ${name} is used`,
    )
  }
})

t.test('each status says what it means and what its body looks like', async (t) => {
  for (const { name, operation } of operations) {
    t.ok(
      Object.keys(operation.responses).some((status) => /^[123]/.test(status)),
      `${name} can succeed`,
    )
    for (const required of ['500', '503']) t.ok(operation.responses[required], `${name} ${required}`)
    for (const [status, { description, content }] of Object.entries(operation.responses)) {
      t.ok(description && description !== 'Default Response', `${name} ${status} is described`)
      if (Number(status) >= 400) {
        t.same(Object.keys(content ?? {}), ['application/problem+json'], `${name} ${status} is a problem`)
        t.same(content?.['application/problem+json']?.schema, { $ref: '#/components/schemas/StatefulProblem' })
      } else if (!['101', '204', '304'].includes(status)) {
        t.ok(
          Object.values(content ?? {}).every(({ schema }) => schema),
          `${name} ${status} has a schema`,
        )
        t.ok(Object.keys(content ?? {}).length > 0, `${name} ${status} has a body`)
      }
    }
  }
})

t.test('what needs a session can be refused, what takes input can refuse it', async (t) => {
  for (const { name, operation } of operations) {
    const isPublic = operation.security?.length === 0
    if (!isPublic) t.ok(operation.responses['401'], `${name} can answer 401`)
    if (operation.requestBody) {
      for (const status of ['400', '413', '415']) t.ok(operation.responses[status], `${name} can answer ${status}`)
      t.same(Object.keys(operation.requestBody.content), ['application/json'], `${name} takes JSON`)
    }
    const checked = operation.parameters?.some(({ in: place }) => place !== 'header')
    if (checked) t.ok(operation.responses['400'], `${name} can answer 400`)
  }
})

t.test('only these are public', async (t) => {
  const names = operations.filter(({ operation }) => operation.security?.length === 0).map(({ name }) => name)
  t.same(names.sort(), [
    'GET /asyncapi.json',
    'GET /health/live',
    'GET /health/ready',
    'GET /openapi.json',
    'POST /login',
    'POST /logout',
  ])
})

t.test('components are named by their $id, and all references lead somewhere', async (t) => {
  const text = generated.get('openapi/openapi.json') ?? ''
  for (const name of Object.keys(document.components.schemas)) {
    t.match(name, /^[A-Z][A-Za-z]+$/)
    t.ok(text.includes(`"#/components/schemas/${name}"`), `${name} is used`)
  }
  for (const [, name = ''] of text.matchAll(/"\$ref": "#\/components\/schemas\/([^"]+)"/g)) {
    t.ok(document.components.schemas[name], name)
  }
  t.notMatch(text, /"\$id"|"def-\d+"/)
})

t.test('objects of a body refuse what they do not know', async (t) => {
  const open = (schema: unknown): boolean => {
    if (typeof schema !== 'object' || schema === null) return false
    const { type, properties, additionalProperties, patternProperties, $ref } = schema as Record<string, unknown>
    if (typeof $ref === 'string') return open(document.components.schemas[$ref.split('/').at(-1) ?? ''])
    if (type === 'object' && properties && additionalProperties !== false && !patternProperties) return true
    return Object.values(schema).some(open)
  }
  for (const { name, operation } of operations) {
    const schema = operation.requestBody?.content['application/json']?.schema
    if (schema) t.notOk(open(schema), name)
  }
})

t.test('whoever may send a body, wanted or not, finds its refusals declared', async (t) => {
  for (const { name, method, operation } of operations) {
    if (method === 'get') continue
    for (const status of ['400', '413', '415']) t.ok(operation.responses[status], `${name} ${status}`)
  }
})

t.test('a prefix stands before every path', async (t) => {
  const app = await build({
    storage: 'memory:',
    secret: 'a secret that is long enough for a test',
    adminPassword: 'a password',
    prefix: '/api',
  })
  t.teardown(() => app.close())
  await app.ready()
  const { paths } = app.swagger() as unknown as Document
  t.same(
    Object.keys(paths).sort(),
    Object.keys(document.paths)
      .map((path) => `/api${path}`)
      .sort(),
    'the same paths under a prefix',
  )
  for (const path of Object.keys(paths)) t.notMatch(path, /.\/$/, 'no path ends in a slash')
})

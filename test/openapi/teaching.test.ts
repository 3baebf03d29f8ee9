/** The documents teach: everything in them is described, and every request and answer is shown by an example that is true. */
import { readFile } from 'node:fs/promises'
import { Ajv2020 } from 'ajv/dist/2020.js'
import formats from 'ajv-formats'
import t from 'tap'

interface Schema {
  $ref?: string
  description?: string
  examples?: unknown[]
  properties?: Record<string, Schema>
  items?: Schema
  anyOf?: Schema[]
  additionalProperties?: Schema | boolean
  patternProperties?: Record<string, Schema>
}

interface Media {
  schema?: Schema
  example?: unknown
  examples?: Record<string, { value: unknown }>
}

interface Parameter {
  name: string
  in: string
  description?: string
  schema: Schema
  example?: unknown
  examples?: Record<string, { value: unknown }>
}

interface Operation {
  operationId: string
  summary?: string
  description?: string
  parameters?: Parameter[]
  requestBody?: { content: Record<string, Media> }
  responses: Record<string, { description: string; content?: Record<string, Media>; headers?: Record<string, Schema> }>
}

const read = async (name: string) =>
  JSON.parse(await readFile(new URL(`../../openapi/${name}`, import.meta.url), 'utf8'))
const openapi = (await read('openapi.json')) as {
  paths: Record<string, Record<string, Operation>>
  components: { schemas: Record<string, Schema> }
  tags: { name: string; description?: string }[]
}
const asyncapi = (await read('asyncapi.json')) as {
  channels: Record<string, { bindings: { ws: { query: Schema } } }>
  components: { schemas: Record<string, Schema> }
}
const operations = Object.values(openapi.paths).flatMap((methods) => Object.values(methods))

/** Every place of a schema where a reader asks what that is. A reference stands for what it refers to. */
function* undescribed(schema: Schema, path: string): Generator<string> {
  for (const [name, property] of Object.entries(schema.properties ?? {})) {
    const at = `${path}.${name}`
    // Of a message's `type` there is one, which names the message.
    const names = name === 'type' && 'const' in property
    if (!property.$ref && !property.description && !names) yield at
    yield* undescribed(property, at)
  }
  for (const inner of [schema.items, ...(schema.anyOf ?? []), ...Object.values(schema.patternProperties ?? {})]) {
    if (inner) yield* undescribed(inner, `${path}[]`)
  }
  if (typeof schema.additionalProperties === 'object') yield* undescribed(schema.additionalProperties, `${path}{}`)
}

t.test('every operation, parameter, header, component and field is described', async (t) => {
  const missing: string[] = []
  for (const { operationId, summary, description, parameters = [], responses } of operations) {
    if (!description || description.length < 20 || description === summary) missing.push(operationId)
    for (const { name, description } of parameters) if (!description) missing.push(`${operationId}?${name}`)
    for (const [status, answer] of Object.entries(responses)) {
      if (!answer.description || answer.description === 'Default Response') missing.push(`${operationId} ${status}`)
      for (const [name, header] of Object.entries(answer.headers ?? {})) {
        if (!header.description) missing.push(`${operationId} ${status} ${name}`)
      }
      for (const { schema = {} } of Object.values(answer.content ?? {})) {
        missing.push(...undescribed(schema, `${operationId} ${status}`))
      }
    }
  }
  for (const document of [openapi, asyncapi]) {
    for (const [name, schema] of Object.entries(document.components.schemas)) {
      if (!schema.description) missing.push(name)
      missing.push(...undescribed(schema, name))
    }
  }
  for (const { bindings } of Object.values(asyncapi.channels)) missing.push(...undescribed(bindings.ws.query, 'socket'))
  for (const { name, description } of openapi.tags) if (!description) missing.push(`tag ${name}`)
  t.strictSame(missing, [])
})

const ajv = new Ajv2020({ strict: false, allErrors: true })
formats.default(ajv)
ajv.addSchema(openapi as object, 'openapi')

const resolved = (schema: Schema = {}): Schema =>
  schema.$ref ? (openapi.components.schemas[schema.$ref.split('/').at(-1) ?? ''] ?? {}) : schema

/** Those of a body: beside its schema, or in it. */
function examplesOf({ schema, example, examples }: Media): unknown[] {
  if (example !== undefined) return [example]
  if (examples) return Object.values(examples).map(({ value }) => value)
  return resolved(schema).examples ?? []
}

/** The schema with its references into the document. */
const inDocument = (schema: Schema): Schema =>
  JSON.parse(JSON.stringify(schema).replaceAll('"#/components', '"openapi#/components'))

function faultOf(schema: Schema, example: unknown): string | undefined {
  const validate = ajv.compile(inDocument(schema))
  return validate(example) ? undefined : `${JSON.stringify(example).slice(0, 200)}: ${ajv.errorsText(validate.errors)}`
}

t.test('every request and answer has an example, and every example is valid', async (t) => {
  const missing: string[] = []
  const wrong: string[] = []
  const check = (name: string, schema: Schema | undefined, examples: unknown[]) => {
    if (examples.length === 0) missing.push(name)
    for (const example of examples) {
      const fault = faultOf(schema ?? {}, example)
      if (fault) wrong.push(`${name} ${fault}`)
    }
  }
  for (const { operationId, parameters = [], requestBody, responses } of operations) {
    for (const [type, media] of Object.entries(requestBody?.content ?? {})) {
      check(`${operationId} as ${type}`, media.schema, examplesOf(media))
    }
    for (const parameter of parameters) {
      const examples = examplesOf(parameter)
      if (parameter.in === 'path') check(`${operationId} {${parameter.name}}`, parameter.schema, examples)
      else if (examples.length > 0) check(`${operationId} ?${parameter.name}`, parameter.schema, examples)
    }
    for (const [status, { content = {} }] of Object.entries(responses)) {
      for (const [type, media] of Object.entries(content)) {
        check(`${operationId} ${status} as ${type}`, media.schema, examplesOf(media))
      }
    }
  }
  const nested = (schema: Schema, name: string) => {
    for (const example of schema.examples ?? []) {
      const fault = faultOf(schema, example)
      if (fault) wrong.push(`${name} ${fault}`)
    }
    for (const [key, property] of Object.entries(schema.properties ?? {})) nested(property, `${name}.${key}`)
  }
  for (const [name, schema] of Object.entries(openapi.components.schemas)) nested(schema, name)
  t.strictSame(missing, [])
  t.strictSame(wrong, [])
})

t.test('every problem names its codes, by examples that are under that status', async (t) => {
  for (const { operationId, responses } of operations) {
    for (const [status, { content }] of Object.entries(responses)) {
      const problem = content?.['application/problem+json']
      if (!problem) continue
      const examples = Object.entries(problem.examples ?? {})
      t.ok(examples.length > 0, `${operationId} ${status}`)
      for (const [code, { value }] of examples) {
        t.match(value, { code, status: Number(status) }, `${operationId} ${status} ${code}`)
      }
    }
  }
})

t.test('no problem names a route: it may have another prefix, or not be there', async (t) => {
  for (const { operationId, responses } of operations) {
    for (const { content } of Object.values(responses)) {
      for (const { value } of Object.values(content?.['application/problem+json']?.examples ?? {})) {
        const { detail = '' } = value as { detail?: string }
        t.notMatch(detail, /\b(GET|POST|PUT|PATCH|DELETE) \/|(^| )\/[a-z]+/, operationId)
      }
    }
  }
})

import { readFileSync } from 'node:fs'
import { Ajv2020, type ValidateFunction } from 'ajv/dist/2020.js'
import formats from 'ajv-formats'
import type { Answer } from './exchange.ts'

export interface Schema {
  $ref?: string
  [keyword: string]: unknown
}

export interface Parameter {
  name: string
  in: 'query' | 'path' | 'header'
  required?: boolean
  schema: Schema
}

export interface Operation {
  id: string
  method: string
  /** With `{parameters}`. */
  path: string
  parameters: Parameter[]
  body: Schema | undefined
  /** Media types by status. */
  responses: Record<string, string[]>
}

interface Document {
  paths: Record<
    string,
    Record<
      string,
      {
        operationId: string
        parameters?: Parameter[]
        requestBody?: { content: Record<string, { schema: Schema }> }
        responses: Record<string, { content?: Record<string, unknown> }>
      }
    >
  >
  components: { schemas: Record<string, Schema> }
}

const PROBLEM = 'application/problem+json'
/** What HTTP itself may answer before any operation is known. */
const PROTOCOL_STATUSES = new Set([400, 408, 414, 417, 431, 501, 505])
/** A file name, a stack, an address or a driver's word in an answer tells an attacker what is inside. */
const INTERNALS = /node_modules|\bat \S+ \(|\.[jt]s:\d+|ECONN|ETIMEDOUT|ENOSPC|EMFILE|redis:|ioredis|MDB_|lmdb|\bOOM\b/i

const read = (name: string) => JSON.parse(readFileSync(new URL(`../../openapi/${name}`, import.meta.url), 'utf8'))

/** The published documents, as what judges an answer. */
export class Contract {
  readonly operations: readonly Operation[]
  /** What a client may send over the WebSocket. */
  readonly messages: readonly Schema[]
  readonly #ajv: Ajv2020
  readonly #checks = new Map<string, ValidateFunction>()
  readonly #schemas: Record<string, Schema>

  constructor() {
    const document = read('openapi.json') as Document
    const sync = read('asyncapi.json') as {
      operations: { receiveFromClient: { messages: { $ref: string }[] } }
      components: { schemas: Record<string, Schema> }
    }
    this.#ajv = new Ajv2020({ strict: false, allErrors: false })
    formats.default(this.#ajv)
    this.#ajv.addSchema(document as object, 'openapi')
    this.#schemas = { ...sync.components.schemas, ...document.components.schemas }
    this.messages = sync.operations.receiveFromClient.messages.map(({ $ref }) => ({
      $ref: `#/components/schemas/${$ref.split('/').at(-1)}`,
    }))
    this.operations = Object.entries(document.paths).flatMap(([path, methods]) =>
      Object.entries(methods).map(([method, operation]) => ({
        id: operation.operationId,
        method: method.toUpperCase(),
        path,
        parameters: operation.parameters ?? [],
        body: operation.requestBody?.content['application/json']?.schema,
        responses: Object.fromEntries(
          Object.entries(operation.responses).map(([status, { content }]) => [status, Object.keys(content ?? {})]),
        ),
      })),
    )
  }

  /** What a `$ref` of one of the documents stands for. */
  resolve(schema: Schema): Schema {
    if (schema.$ref === undefined) return schema
    const name = schema.$ref.split('/').at(-1) ?? ''
    const found = this.#schemas[name]
    if (!found) throw new Error(`the documents have no schema '${name}'`)
    return this.resolve(found)
  }

  /**
   * What is wrong with an answer, or `undefined`.
   * @param operation which was asked; `undefined` when the request meant none: then only problems are right
   */
  violation(operation: Operation | undefined, answer: Answer, head = false): string | undefined {
    const { status, headers, body, complete } = answer
    const type = headers['content-type']?.split(';')[0]?.trim().toLowerCase()
    if (status === 500) return 'answered 500: something failed inside'
    if (status >= 500 && INTERNALS.test(body.toString('latin1', 0, 4_096))) return 'internals in an error'
    const protocol = PROTOCOL_STATUSES.has(status) && !(operation && String(status) in operation.responses)
    if (!operation || protocol) {
      if (status < 400) return operation ? `undeclared status ${status}` : undefined
      return this.#problem(answer, type, head)
    }
    const types = operation.responses[status]
    if (!types) return `undeclared status ${status}`
    if (status >= 400) return this.#problem(answer, type, head)
    if (types.length === 0) return !head && body.length > 0 ? `a body beside ${status}` : undefined
    if (type === undefined || !types.includes(type)) return `${status} as ${type ?? 'no content type'}`
    if (head || !complete || type !== 'application/json') return undefined
    const pointer = ['paths', operation.path, operation.method.toLowerCase(), 'responses', `${status}`, 'content', type]
    return this.#mismatch(`openapi#/${pointer.map(escaped).join('/')}/schema`, body)
  }

  #problem(answer: Answer, type: string | undefined, head: boolean): string | undefined {
    if (type !== PROBLEM) return `${answer.status} is no problem document but ${type ?? 'without a content type'}`
    if (head || !answer.complete) return undefined
    const mismatch = this.#mismatch('openapi#/components/schemas/StatefulProblem', answer.body)
    if (mismatch) return mismatch
    const { status } = JSON.parse(answer.body.toString()) as { status: number }
    return status === answer.status ? undefined : `a problem that says ${status} under ${answer.status}`
  }

  #mismatch(reference: string, body: Buffer): string | undefined {
    let check = this.#checks.get(reference)
    if (!check) {
      check = this.#ajv.compile({ $ref: reference })
      this.#checks.set(reference, check)
    }
    let value: unknown
    try {
      value = JSON.parse(body.toString())
    } catch {
      return 'a body that is no JSON'
    }
    if (check(value)) return undefined
    const [error] = check.errors ?? []
    return `a body against its schema: ${error?.instancePath} ${error?.message}`
  }
}

function escaped(part: string): string {
  return encodeURIComponent(part.replaceAll('~', '~0').replaceAll('/', '~1'))
}

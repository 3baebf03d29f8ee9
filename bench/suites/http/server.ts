/** The same two routes by each contender: `server.ts <contender>` listens on a free port of loopback. */
import { createServer, type IncomingMessage } from 'node:http'
import type { AddressInfo, Server } from 'node:net'
import { type Static, Type } from '@sinclair/typebox'
import express from 'express'
import Fastify from 'fastify'
import { Problem } from '../../../openapi/schemas/problem.ts'
import { problems } from '../../../openapi/schemas/responses.ts'
import { useProblems } from '../../../plugins/problems/index.ts'
import { defineRoutes } from '../../../plugins/support/define-routes.ts'
import { useSchemas, useStrictValidation } from '../../../plugins/support/schemas.ts'

const Change = Type.Object(
  { name: Type.String(), tags: Type.Array(Type.String(), { maxItems: 16 }), amount: Type.Integer() },
  { additionalProperties: false },
)
const Item = Type.Object({ id: Type.String(), ...Change.properties }, { additionalProperties: false })

const params = Type.Object({ id: Type.String({ minLength: 1, maxLength: 256 }) })
const querystring = Type.Object({ verbose: Type.Optional(Type.Boolean()) })
const stored: Static<typeof Change> = { name: 'a name', tags: ['one', 'two'], amount: 7 }

/** Both Fastify contenders: they differ in what their scope does and in the errors that they declare. */
const items = defineRoutes<{ ours: boolean }>('items', async (fastify, { ours }) => {
  if (ours) {
    useSchemas(fastify, Problem)
    useStrictValidation(fastify)
    useProblems(fastify)
  }
  const response = { 200: Item, ...(ours ? problems(400, 404) : {}) }
  fastify.get('/items/:id', { schema: { params, querystring, response } }, async ({ params }) => {
    return { id: params.id, ...stored }
  })
  fastify.put('/items/:id', { schema: { params, body: Change, response } }, async ({ params, body }) => {
    return { id: params.id, ...body }
  })
})

async function fastify(ours: boolean): Promise<string> {
  const app = Fastify()
  await app.register(items, { ours })
  return app.listen({ host: '127.0.0.1', port: 0 })
}

function expressServer(): Promise<string> {
  const app = express()
  app.use(express.json())
  app.get('/items/:id', (request, response) => {
    response.json({ id: request.params.id, ...stored })
  })
  app.put('/items/:id', (request, response) => {
    response.json({ id: request.params.id, ...request.body })
  })
  return listen(createServer(app))
}

function bareServer(): Promise<string> {
  return listen(
    createServer(async (request, response) => {
      const [path = ''] = (request.url ?? '').split('?', 1)
      const id = path.slice('/items/'.length)
      const json = JSON.stringify({ id, ...(request.method === 'PUT' ? JSON.parse(await text(request)) : stored) })
      response.writeHead(200, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(json) })
      response.end(json)
    }),
  )
}

function text(request: IncomingMessage): Promise<string> {
  return new Promise((resolve, reject) => {
    let received = ''
    request.setEncoding('utf8')
    request.on('data', (chunk) => {
      received += chunk
    })
    request.on('end', () => resolve(received))
    request.on('error', reject)
  })
}

function listen(server: Server): Promise<string> {
  return new Promise((resolve) => {
    server.listen(0, '127.0.0.1', () => resolve(`http://127.0.0.1:${(server.address() as AddressInfo).port}`))
  })
}

const contenders: Record<string, () => Promise<string>> = {
  'node:http': bareServer,
  'fastify-stateful': () => fastify(true),
  fastify: () => fastify(false),
  express: expressServer,
}

const start = contenders[process.argv[2] ?? '']
if (!start) throw new Error(`no contender '${process.argv[2]}'`)
process.send?.({ url: await start() })

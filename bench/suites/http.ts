import type { Contender, Suite } from '../harness.ts'
import { httpLoad } from '../tools/http-load.ts'
import { startServer } from '../tools/server-process.ts'

const servers = new URL('./http/server.ts', import.meta.url)

interface Load {
  method: 'GET' | 'PUT'
  path: string
  body?: string
  headers?: Record<string, string>
}

const read: Load = { method: 'GET', path: '/items/42?verbose=true' }
const write: Load = {
  method: 'PUT',
  path: '/items/42',
  body: JSON.stringify({ name: 'a name', tags: ['one', 'two'], amount: 7 }),
  headers: { 'content-type': 'application/json' },
}

function contender(kind: string, role: Contender['role'], packages: string[], load: Load): Contender {
  return {
    name: kind,
    role,
    packages,
    async setup(context) {
      const server = await startServer(context, servers, [kind])
      const { path, ...request } = load
      await expectAnswer(new URL(path, server.url), request)
      return () => httpLoad({ ...load, server, pipelining: 10, duration: context.quick ? 1 : 3 })
    },
  }
}

/** A contender that answers something else would win easily. */
async function expectAnswer(url: URL, request: Omit<Load, 'path'>): Promise<void> {
  const response = await fetch(url, request)
  const answer = JSON.stringify(await response.json())
  const expected = JSON.stringify({ id: '42', name: 'a name', tags: ['one', 'two'], amount: 7 })
  if (response.status !== 200 || answer !== expected) throw new Error(`${url} answered ${response.status}: ${answer}`)
}

const contenders = (load: Load): Contender[] => [
  contender('node:http', 'limit', [], load),
  contender('fastify-stateful', 'ours', ['fastify'], load),
  contender('fastify', 'peer', ['fastify'], load),
  contender('express', 'peer', ['express'], load),
]

const suite: Suite = {
  name: 'http',
  description:
    'What a typed route costs: ours with its strict validation of parameters, query and body, schema-driven ' +
    'serialisation and problem documents; Fastify with the same schemas and its defaults; Express and raw `node:http`, ' +
    'which check nothing. Answers per second of CPU time of the server; 50 connections over loopback with 10 requests in flight on each.',
  cases: [
    { name: 'GET', unit: 'answers/CPU s', better: 'higher', contenders: contenders(read) },
    { name: 'PUT with a body', unit: 'answers/CPU s', better: 'higher', contenders: contenders(write) },
  ],
}

export default suite

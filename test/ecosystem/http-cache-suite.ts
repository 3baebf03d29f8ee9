import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFile, rm, writeFile } from 'node:fs/promises'
import { Agent } from 'node:http'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { createInterface } from 'node:readline'
import httpProxy from '@fastify/http-proxy'
import Fastify from 'fastify'
import { cache } from '../../plugins/cache/index.ts'
import { responseCache } from '../../plugins/response-cache/index.ts'
import { storage } from '../../plugins/storage/index.ts'
import type { Owner } from '../fixtures/cleanup.ts'
import { untracked } from '../fixtures/untracked.ts'

/** What came of the tests by their ids: `true`, or the kind of the failure and its message. */
export type Results = Record<string, true | [kind: string, message: string]>

export interface CacheTest {
  id: string
  name: string
  kind?: 'required' | 'optimal' | 'check'
  browser_only?: boolean
}

export interface CacheTests {
  name: string
  id: string
  tests: CacheTest[]
}

const require = createRequire(import.meta.url)
const root = dirname(require.resolve('http-cache-tests/package.json'))
const load = (path: string): Promise<Record<string, unknown>> => import(join(root, path))

/** The tests of the package that are for a cache that many share. */
export async function sharedCacheTests(): Promise<CacheTests[]> {
  const suites = (await load('tests/index.mjs'))['default'] as CacheTests[]
  return suites.map((suite) => ({ ...suite, tests: suite.tests.filter(({ browser_only }) => !browser_only) }))
}

/** What the package tells of other caches. */
export async function resultsOf(cache: string): Promise<Results> {
  return require(join(root, 'results', `${cache}.json`)) as Results
}

/**
 * Runs all of them, by the package's own client and against its own origin server, through an application that passes
 * everything on by @fastify/http-proxy behind the response cache.
 */
export async function runCacheTests(owner: Owner): Promise<Results> {
  const base = await cachingProxy(owner, await originServer(owner))
  const { runTests, getResults } = (await load('client/runner.mjs')) as {
    runTests(tests: CacheTests[], fetch: unknown, browser: boolean, base: string, chunk: number): Promise<void>
    getResults(): Results
  }
  const fetch = require('node-fetch') as (url: string, init: object) => Promise<unknown>
  // Some tests send what a connection is kept alive by: one that is used again may be gone by then.
  const agent = new Agent({ keepAlive: false })
  const alone = (url: string, init: object) => fetch(url, { ...init, agent })
  await runTests(await sharedCacheTests(), alone, false, base, 120)
  return getResults()
}

async function originServer(owner: Owner): Promise<string> {
  const pidfile = join(tmpdir(), `http-cache-tests-${process.pid}.pid`)
  owner.teardown(() => rm(pidfile, { force: true }))
  const server = spawn(...untracked(process.execPath, [join(root, 'server/server.mjs')]), {
    cwd: root,
    env: { PATH: process.env['PATH'], npm_config_protocol: 'http', npm_config_port: '0', npm_config_pidfile: pidfile },
    stdio: ['ignore', 'pipe', 'ignore'],
  })
  owner.teardown(async () => {
    server.kill()
    if (server.exitCode === null && server.signalCode === null) await once(server, 'exit')
  })
  for await (const line of createInterface({ input: server.stdout })) {
    const [, port] = /:(\d+)\/$/.exec(line) ?? []
    if (port === undefined) continue
    server.stdout.resume()
    return `http://127.0.0.1:${port}`
  }
  throw new Error('the origin server of http-cache-tests did not start')
}

async function cachingProxy(owner: Owner, upstream: string): Promise<string> {
  const app = Fastify({ forceCloseConnections: true })
  owner.teardown(() => app.close())
  await app.register(storage, { storage: 'memory:' })
  await app.register(cache)
  await app.register(responseCache)
  app.addHttpMethod('M-SEARCH', { hasBody: true })
  await app.register(httpProxy, {
    upstream,
    httpMethods: ['DELETE', 'GET', 'HEAD', 'PATCH', 'POST', 'PUT', 'OPTIONS', 'M-SEARCH'] as never,
    config: { cache: { ttl: 'headers', shared: true } },
    // The origin counts what it is asked; without this each 503 is asked for ten times more.
    replyOptions: { retryDelay: () => null },
  })
  return app.listen({ port: 0, host: '127.0.0.1' })
}

const OTHERS = {
  Squid: 'squid',
  Apache: 'apache',
  'Traffic Server': 'trafficserver',
  Varnish: 'varnish',
  nginx: 'nginx',
  Fastly: 'fastly',
}
const DOCUMENT = new URL('../../docs/response-cache.md', import.meta.url)
const TABLE = /(?<=<!-- http-cache-tests -->\n\n)[\s\S]*?(?=\n<!-- \/http-cache-tests -->)/

/** What the documentation shows: of each group of required tests, how many each cache passes. */
export async function comparison(own: Results): Promise<string> {
  const suites = await sharedCacheTests()
  const names = ['responseCache', ...Object.keys(OTHERS)]
  const all = [own, ...(await Promise.all(Object.values(OTHERS).map(resultsOf)))]
  const row = (title: string, tests: CacheTest[]) => [
    title,
    `${tests.length}`,
    ...all.map((results) => `${tests.filter(({ id }) => results[id] === true).length}`),
  ]
  const ofKind = (wanted: string, tests: CacheTest[]) => tests.filter(({ kind = 'required' }) => kind === wanted)
  const groups = suites
    .map(({ name, tests }) => row(name, ofKind('required', tests)))
    .filter(([, count]) => count !== '0')
  const every = suites.flatMap(({ tests }) => tests)
  const rows = [
    ['', 'tests', ...names],
    ...groups,
    row('**required**', ofKind('required', every)),
    row('optimal', ofKind('optimal', every)),
  ]
  const widths = rows[0]?.map((_, column) => Math.max(...rows.map((cells) => cells[column]?.length ?? 0))) ?? []
  const line = (cells: string[], fill = ' ') =>
    `| ${cells.map((cell, i) => cell.padEnd(widths[i] ?? 0, fill)).join(' | ')} |`
  const [head = [], ...body] = rows
  return [
    line(head),
    line(
      widths.map(() => ''),
      '-',
    ),
    ...body.map((cells) => line(cells)),
  ].join('\n')
}

export const documented = async (): Promise<string> => TABLE.exec(await readFile(DOCUMENT, 'utf8'))?.[0].trim() ?? ''

export async function document(table: string): Promise<void> {
  await writeFile(
    DOCUMENT,
    (await readFile(DOCUMENT, 'utf8')).replace(TABLE, () => `${table}\n`),
  )
}

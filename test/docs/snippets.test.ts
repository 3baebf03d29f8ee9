/** Every snippet of the README and of docs/ compiles strictly; those that are not marked otherwise run. */
import { execFile } from 'node:child_process'
import { mkdir, readdir, readFile, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import Fastify from 'fastify'
import t, { type Test } from 'tap'
import { stateful, syncRoutes } from '../../index.ts'
import { startRedis } from '../fixtures/redis-server.ts'
import { temporaryFolder } from '../fixtures/storages.ts'
import { untrackedTypeScript } from '../fixtures/untracked.ts'
import type { Runnable } from './run.ts'
import { type CompiledSnippet, compile, pages, root, snippetsOf } from './snippets.ts'

const SECRET = 'a secret that is long enough for a cookie'

// The compiler reads the types of a dozen packages.
t.setTimeout(300_000)

const all = (await Promise.all((await pages()).map(snippetsOf))).flat()
const compiled = compile(all.filter((snippet) => snippet.compiled))

t.test('each snippet compiles as strictly as the package itself', async (t) => {
  t.ok(all.length > 40)
  for (const { place, errors } of compiled) t.same(errors, [], place)
})

t.test('each snippet runs', async (t) => {
  const folder = await temporaryFolder(t)
  await installed(folder)
  const outside = await outsideWorld(t)
  const runnable: Runnable[] = []
  for (const [n, snippet] of compiled.entries()) {
    if (!snippet.run || snippet.errors.length > 0) continue
    const file = join(folder, `snippet-${n}.mjs`)
    await writeFile(file, outside(snippet))
    runnable.push({ place: snippet.place, file, own: registeredBy(snippet) })
  }
  const [list, outcomes] = [join(folder, 'list.json'), join(folder, 'outcomes.json')]
  await writeFile(list, JSON.stringify(runnable))
  const [command, args] = untrackedTypeScript(join(root, 'test/docs/run.ts'), list, outcomes)
  const env = { ...process.env, SESSION_SECRET: SECRET, NODE_ENV: 'test' }
  await promisify(execFile)(command, args, { cwd: folder, env, timeout: 240_000, maxBuffer: 2 ** 26 })
  const failures = JSON.parse(await readFile(outcomes, 'utf8')) as Record<string, string>
  for (const { place } of runnable) t.notOk(failures[place], `${place} ${failures[place] ?? ''}`)
  t.ok(runnable.length > 40)
})

/** What an application would have installed, beside the package itself as it is built. */
async function installed(folder: string): Promise<void> {
  const from = join(root, 'node_modules')
  const to = join(folder, 'node_modules')
  await mkdir(to)
  for (const name of await readdir(from)) if (!name.startsWith('.')) await symlink(join(from, name), join(to, name))
  await symlink(root, join(to, 'fastify-stateful'))
  await writeFile(join(folder, 'package.json'), JSON.stringify({ type: 'module' }))
}

/** In place of the addresses that snippets name: a Redis and servers of this test, and a free port; and less time. */
async function outsideWorld(t: Test): Promise<(snippet: CompiledSnippet) => string> {
  const redis = await startRedis(t)
  const api = Fastify()
  api.get('/*', async () => ({}))
  const live = Fastify()
  await live.register(stateful, { storage: 'memory:', secret: SECRET })
  await live.register(syncRoutes, { authorize: () => true })
  for (const app of [api, live]) t.teardown(() => app.close())
  const addresses = { 'https://api.example.org': await api.listen(), 'https://app.example': await live.listen() }
  return ({ code }) =>
    code
      .replaceAll('redis://127.0.0.1:6379', redis.url)
      .replaceAll(
        /https:\/\/(api\.example\.org|app\.example)(?=['"/])/g,
        (origin) => addresses[origin as keyof typeof addresses],
      )
      .replaceAll('port: 3000', 'port: 0')
      .replaceAll('progress: 5_000', 'progress: 5')
}

/** Plugins that a snippet registers, which its application therefore does not have yet. */
function registeredBy({ text }: CompiledSnippet): string[] {
  return [...text.matchAll(/\.register\((\w+)/g)].map(([, name = '']) => name)
}

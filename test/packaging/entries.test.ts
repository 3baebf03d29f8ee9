import { execFile } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import t from 'tap'

const root = new URL('../../', import.meta.url)
const { exports: entries } = JSON.parse(await readFile(new URL('package.json', root), 'utf8')) as {
  exports: Record<string, string | { default: string }>
}
const modules = Object.entries(entries).flatMap(([name, entry]) =>
  typeof entry === 'string' ? [] : [[name, new URL(entry.default, root).href] as const],
)

/** What a fresh process has loaded after this code: native add-ons, and packages by the files that `require` knows. */
async function loadedBy(code: string): Promise<{ addons: string[]; packages: string[] }> {
  const report = `
    import { createRequire as requireOf } from 'node:module'
    import { readFileSync as read } from 'node:fs'
    const files = Object.keys(requireOf(import.meta.url).cache)
    const named = (file) => /.*node_modules\\/((?:@[^/]+\\/)?[^/]+)/.exec(file)?.[1]
    const maps = process.platform === 'linux' ? read('/proc/self/maps', 'utf8') : ''
    console.log(JSON.stringify({
      addons: [...new Set(maps.match(/\\S+\\.node$/gm) ?? [])],
      packages: [...new Set(files.map(named).filter(Boolean))],
    }))`
  const args = ['--input-type=module', '--eval', `${code}\n${report}`]
  const { NODE_OPTIONS: _, NODE_V8_COVERAGE: __, ...env } = process.env
  const { stdout } = await promisify(execFile)(process.execPath, args, { cwd: fileURLToPath(root), env })
  return JSON.parse(stdout)
}

/** Each is loaded by the plugin and for the storage that need it, not by an import. */
const LATER = [
  'ioredis',
  '@fastify/redis',
  'lmdb',
  '@node-rs/argon2',
  '@fastify/swagger',
  '@fastify/swagger-ui',
  '@fastify/helmet',
  '@fastify/static',
  '@fastify/websocket',
  'prom-client',
]

t.test('an import loads no driver and no native add-on', async (t) => {
  t.ok(modules.length > 15)
  const { addons, packages } = await loadedBy(`await import('ioredis'); await import('@node-rs/argon2')`)
  t.ok(packages.includes('ioredis') && (addons.length === 1 || process.platform !== 'linux'), 'it would be noticed')
  for (const [name, url] of modules) {
    const { addons, packages } = await loadedBy(`await import('${url}')`)
    t.same(addons, [], `${name}: no native add-on`)
    t.same(
      packages.filter((one) => LATER.includes(one)),
      [],
      `${name}: no driver`,
    )
  }
})

t.test('an application with the cache in memory loads what that runs on, and nothing else of ours', async (t) => {
  const [, cache] = modules.find(([name]) => name === './cache') ?? []
  const [, storage] = modules.find(([name]) => name === './storage') ?? []
  const { addons, packages } = await loadedBy(`
    import Fastify from 'fastify'
    import { cache } from '${cache}'
    import { storage } from '${storage}'
    const app = Fastify()
    await app.register(storage, { storage: 'memory:' })
    await app.register(cache)
    await app.ready()
    if (await app.cache.getOrSet('a', async () => 1) !== 1) throw new Error('it does not cache')`)
  t.same(addons, [])
  t.same(
    packages.filter((one) => LATER.includes(one) || one.startsWith('@fastify/session')),
    [],
  )
})

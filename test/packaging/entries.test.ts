import { readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'
import t from 'tap'
import { execute } from './project.ts'

const root = new URL('../../', import.meta.url)
const { exports: entries } = JSON.parse(await readFile(new URL('package.json', root), 'utf8')) as {
  exports: Record<string, string | { default: string }>
}
const modules = new Map(
  Object.entries(entries).flatMap(([name, entry]) =>
    typeof entry === 'string' ? [] : [[name, new URL(entry.default, root).href] as const],
  ),
)
/** Those that are one service each; problem documents are what several answer with. */
const services = [...modules].filter(([name, url]) => /\/plugins\/[^/]+\/index\.js$/.test(url) && name !== './problems')

/** Each is loaded by the plugin and for the storage that need it, not by an import. */
const LATER = [
  'ioredis',
  '@fastify/redis',
  'lmdb',
  '@node-rs/argon2',
  '@fastify/swagger',
  '@fastify/swagger-ui',
  'helmet',
  '@fastify/cors',
  '@fastify/static',
  '@fastify/websocket',
  '@opentelemetry/api',
]

interface Loaded {
  addons: string[]
  packages: string[]
}

/**
 * What a fresh process has loaded after each of these modules: native add-ons, and the packages whose files `require`
 * knows.
 * @param code what it does at the end
 */
async function loadedBy(names: readonly string[], code = ''): Promise<Loaded[]> {
  const script = `
    import { createRequire as requireOf } from 'node:module'
    import { readFileSync as read } from 'node:fs'
    const { cache } = requireOf(import.meta.url)
    const named = (file) => /.*node_modules\\/((?:@[^/]+\\/)?[^/]+)/.exec(file)?.[1]
    const loaded = () => ({
      addons: process.platform === 'linux' ? read('/proc/self/maps', 'utf8').match(/\\S+\\.node$/gm) ?? [] : [],
      packages: [...new Set(Object.keys(cache).map(named).filter(Boolean))],
    })
    const all = []
    for (const name of ${JSON.stringify(names)}) {
      await import(name)
      all.push(loaded())
    }
    ${code}
    process.stdout.write(JSON.stringify([...all, loaded()]))`
  const { stdout } = await execute(fileURLToPath(root), process.execPath, ['--input-type=module', '--eval', script])
  return JSON.parse(stdout)
}

t.test('an import loads no driver and no native add-on', async (t) => {
  const [seen] = await loadedBy(['ioredis', '@node-rs/argon2']).then((all) => all.slice(-1))
  t.ok(seen?.packages.includes('ioredis'), 'a driver would be noticed')
  if (process.platform === 'linux') t.ok((seen?.addons.length ?? 0) > 0, 'and a native add-on')

  t.ok(modules.size > 15)
  const all = await loadedBy([...modules.values()])
  for (const [index, name] of [...modules.keys()].entries()) {
    const { addons = [], packages = [] } = all[index] ?? {}
    t.same(addons, [], `${name}: no native add-on`)
    t.same(
      packages.filter((one) => LATER.includes(one)),
      [],
      `${name}: no driver`,
    )
  }
})

t.test('an import of one service loads no other', async (t) => {
  t.ok(services.length > 10)
  for (const [name, url] of services) {
    const { metafile } = await build({
      entryPoints: [fileURLToPath(url)],
      ...{ bundle: true, write: false, metafile: true, format: 'esm', platform: 'node', packages: 'external' },
      // What is imported when it is needed is not part of it.
      plugins: [
        {
          name: 'static imports',
          setup: ({ onResolve }) =>
            onResolve({ filter: /./ }, ({ kind, path }) =>
              kind === 'dynamic-import' ? { path, external: true } : null,
            ),
        },
      ],
    })
    const others = services.filter(([other]) => other !== name).map(([, other]) => other)
    const reached = Object.keys(metafile.inputs).map((file) => new URL(file, root).href)
    t.same(
      reached.filter((file) => others.includes(file)),
      [],
      name,
    )
  }
})

t.test('an application with the cache in memory loads no driver, no native add-on and no sessions', async (t) => {
  const [loaded] = await loadedBy(
    [],
    `const { default: Fastify } = await import('fastify')
    const { cache: cachePlugin } = await import('${modules.get('./cache')}')
    const { storage } = await import('${modules.get('./storage')}')
    const app = Fastify()
    await app.register(storage, { storage: 'memory:' })
    await app.register(cachePlugin)
    await app.ready()
    if (await app.cache.getOrSet('a', async () => 1) !== 1) throw new Error('it does not cache')`,
  )
  t.same(loaded?.addons, [])
  t.same(
    loaded?.packages.filter((one) => LATER.includes(one) || one.startsWith('@fastify/session')),
    [],
  )
})

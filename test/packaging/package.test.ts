/** The package as its users get it: packed, installed into an empty project, imported in each supported way. */
import { execFile } from 'node:child_process'
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import t, { type Test } from 'tap'
import { temporaryFolder } from '../fixtures/storages.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))
const execute = promisify(execFile)

const plugins = [
  ...['accounts', 'cache', 'dashboard', 'documentation', 'problems', 'security', 'session', 'state', 'stateful'],
  ...['stats', 'storage', 'sync'],
  ...['authRoutes', 'cacheRoutes', 'healthRoutes', 'sessionRoutes', 'stateRoutes', 'statsRoutes', 'syncRoutes'],
  'userRoutes',
]

// It asks the registry for what npm has not cached.
t.setTimeout(180_000)

const project = await install(t)

t.test('contains what is needed to run, and no more', async (t) => {
  const installed = join(project, 'node_modules', 'fastify-stateful')
  const files = await readdir(installed, { recursive: true })
  for (const file of ['dist/index.js', 'dist/index.d.ts', 'dist/client/index.js', 'LICENSE', 'README.md']) {
    t.ok(files.includes(file), file)
  }
  t.ok(files.includes('openapi/openapi.json'))
  t.ok(files.includes('openapi/asyncapi.json'))
  t.same(
    files.filter((file) => /(^|\/)(test|bench|scripts|examples|node_modules)(\/|$)|(?<!\.d)\.ts$/.test(file)),
    [],
    'neither tests nor sources',
  )
  t.same(await missingScripts(files), [], 'every Redis script lies beside its code')
})

t.test('is imported as an ES module', async (t) => {
  const names = await printed('esm.mjs', "import * as all from 'fastify-stateful'; print(Object.keys(all))")
  for (const name of [...plugins, 'default']) t.ok(names.includes(name), name)
})

t.test('is required by CommonJS', async (t) => {
  const names = await printed('cjs.cjs', "print(Object.keys(require('fastify-stateful')))")
  for (const name of plugins) t.ok(names.includes(name), name)
})

t.test('its documents are importable by name', async (t) => {
  const versions = await printed(
    'documents.cjs',
    "print([require('fastify-stateful/openapi.json').openapi, require('fastify-stateful/asyncapi.json').asyncapi])",
  )
  t.match(versions, [/^3\.1\./, /^3\./])
})

t.test('runs: all services, and a route plugin under a prefix', async (t) => {
  const answers = await printed(
    'run.mjs',
    `import Fastify from 'fastify'
     import { healthRoutes, stateful } from 'fastify-stateful'
     const app = Fastify()
     await app.register(stateful, { storage: 'memory:', secret: 'a secret that is long enough for a cookie' })
     await app.register(healthRoutes, { prefix: '/internal' })
     const { statusCode } = await app.inject('/internal/health/ready')
     await app.state.set('key', { a: 1 })
     await app.cache.set('key', null)
     print([statusCode, app.state.get('key'), await app.cache.get('key'), (await app.cache.get('none')) === undefined])
     await app.close()`,
  )
  t.same(answers, [200, { a: 1 }, null, true])
})

t.test('its types hold in a strict project that checks them too', async (t) => {
  await compile(
    t,
    `import Fastify from 'fastify'
     import stateful, { stateRoutes } from 'fastify-stateful'
     import type { StatefulOptions } from 'fastify-stateful'

     declare module 'fastify-stateful' {
       interface SessionUser {
         team?: string
       }
       interface StateKeyTypes {
         visitors: number
       }
     }

     const options: StatefulOptions = { storage: 'memory:', secret: 'a secret that is long enough for a cookie' }
     const app = Fastify()
     await app.register(stateful, options)
     await app.register(stateRoutes, { prefix: '/api' })
     app.get('/', async (request): Promise<{ team: string | undefined }> => ({ team: request.session.user?.team }))
     app.post('/', async (request) => {
       await request.login({ id: '1', team: 'red' })
     })
     await app.state.set('key', 1)
     const visitors: number | undefined = await app.state.update('visitors', (count) => (count ?? 0) + 1)
     const size: number = app.state.size
     const hit: unknown = await app.cache.get('key')
     const kind: 'memory' | 'lmdb' | 'redis' = app.storage.kind
     app.log.info({ size, hit, kind, visitors })

     // @ts-expect-error the key is declared as a number
     await app.state.set('visitors', 'many')

     // @ts-expect-error an option that does not exist
     await app.register(stateful, { ...options, sesion: {} })
     // @ts-expect-error a user without an id
     app.post('/wrong', (request) => request.login({ team: 'red' }))`,
  )
})

t.test('one service alone brings its types with it', async (t) => {
  await compile(
    t,
    `import Fastify from 'fastify'
     import { cache, storage } from 'fastify-stateful'
     const app = Fastify()
     await app.register(storage, { storage: 'memory:' })
     await app.register(cache, { l1: { maxEntries: 100 } })
     const answer: string = await app.cache.getOrSet('key', async () => 'value', { ttl: '1m' })
     app.log.info(answer)`,
  )
})

t.test('the client’s types come with it', async (t) => {
  await compile(
    t,
    `import { type Op, type paths } from 'fastify-stateful/client'
     const op: Op = { op: 'set', key: 'a', value: { b: [1, null] } }
     type Login = paths['/login']['post']['requestBody']
     // @ts-expect-error the password is missing
     const login: Login = { content: { 'application/json': { username: 'ada' } } }
     process.stdout.write(JSON.stringify([op, login]))`,
  )
})

/** Packs what was built by pretest and installs it as a user would. */
async function install(t: Test): Promise<string> {
  const folder = await temporaryFolder(t)
  await execute(process.execPath, ['scripts/build.mjs'], { cwd: root })
  const pack = ['pack', '--ignore-scripts', '--json', '--pack-destination', folder]
  const { stdout } = await execute('npm', pack, { cwd: root })
  const [{ filename }] = JSON.parse(stdout) as [{ filename: string }]
  await writeFile(join(folder, 'package.json'), JSON.stringify({ name: 'consumer', private: true, type: 'module' }))
  const others = await Promise.all(['fastify', '@types/node'].map(async (name) => `${name}@${await versionOf(name)}`))
  const quietly = ['--prefer-offline', '--no-audit', '--no-fund', '--loglevel=error']
  await execute('npm', ['install', ...quietly, `./${filename}`, ...others], { cwd: folder })
  return folder
}

async function versionOf(name: string): Promise<string> {
  return JSON.parse(await readFile(join(root, 'node_modules', name, 'package.json'), 'utf8')).version
}

/** What a module of the project prints, as JSON. */
async function printed(file: string, code: string) {
  const print = 'const print = (value) => process.stdout.write(JSON.stringify(value));'
  await writeFile(join(project, file), `${print}\n${code}\n`)
  const { stdout } = await execute(process.execPath, [file], { cwd: project })
  return JSON.parse(stdout)
}

/** Compiles one module with every check on, those of this package's declarations included. */
async function compile(t: Test, code: string): Promise<void> {
  const folder = join(project, `compile-${t.name.replace(/\W+/g, '-')}`)
  await mkdir(folder)
  await writeFile(join(folder, 'consumer.ts'), code)
  const compilerOptions = {
    ...{ target: 'es2023', module: 'nodenext', strict: true, exactOptionalPropertyTypes: true, noEmit: true },
    ...{ skipLibCheck: false, types: ['node'] },
  }
  await writeFile(join(folder, 'tsconfig.json'), JSON.stringify({ compilerOptions, include: ['consumer.ts'] }))
  const tsc = join(root, 'node_modules', 'typescript', 'bin', 'tsc')
  const output = await execute(process.execPath, [tsc, '-p', folder], { cwd: project }).then(
    () => '',
    (error: { stdout: string }) => error.stdout,
  )
  // Libraries' own mistakes are not ours to mend (lmdb: `export =` in an ES module); what refers to them is.
  const errors = output.split('\n').filter((line) => line && !/^node_modules\/(?!fastify-stateful\/)/.test(line))
  t.same(errors, [])
}

/** Redis scripts of the sources that the package does not have. */
async function missingScripts(files: string[]): Promise<string[]> {
  const sources = await readdir(join(root, 'plugins'), { recursive: true })
  return sources.filter((file) => file.endsWith('.lua') && !files.includes(join('dist', 'plugins', file)))
}

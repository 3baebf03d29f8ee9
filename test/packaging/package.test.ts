/** The package as its users get it: packed, installed into an empty project, imported in each supported way. */
import { existsSync } from 'node:fs'
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { FASTIFY_VERSIONS } from '../../plugins/support/define.ts'
import { execute, installPacked } from './project.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))

const plugins = [
  ...['accounts', 'cache', 'dashboard', 'documentation', 'problems', 'security', 'session', 'state', 'stateful'],
  ...['audit', 'stats', 'storage', 'sync', 'telemetry', 'tokens'],
  ...['authRoutes', 'cacheRoutes', 'healthRoutes', 'sessionRoutes', 'stateRoutes', 'statsRoutes', 'syncRoutes'],
  ...['tokenRoutes', 'userRoutes'],
]

// It asks the registry for what npm has not cached.
t.setTimeout(300_000)

const project = await installPacked(t, [
  `fastify@${await versionOf('fastify')}`,
  `@types/node@${await versionOf('@types/node')}`,
])

t.test('contains what is needed to run, and no more', async (t) => {
  const installed = join(project, 'node_modules', 'fastify-stateful')
  const files = await readdir(installed, { recursive: true })
  for (const file of ['dist/index.js', 'dist/index.d.ts', 'dist/client/index.js', 'LICENSE', 'README.md']) {
    t.ok(files.includes(file), file)
  }
  t.ok(files.includes('openapi/openapi.json'))
  t.ok(files.includes('openapi/asyncapi.json'))
  t.same(
    files.filter((file) => /(^|\/)(test|bench|scripts|node_modules)(\/|$)|\.lua$/.test(file)),
    [],
    'neither tests nor tools; scripts for Redis travel inside the code',
  )
  const code = await Promise.all(
    files.filter((file) => /^dist\/.*\.js$/.test(file)).map((file) => readFile(join(installed, file), 'utf8')),
  )
  t.equal(new Set(code.join().match(/"data:,[^"]+"/g)).size, (await redisScripts()).length + 1, 'and package.json')
})

t.test('the source of each line is in the package, and a stack trace names it', async (t) => {
  const dist = join(project, 'node_modules', 'fastify-stateful', 'dist')
  const maps = (await readdir(dist, { recursive: true })).filter((file) => file.endsWith('.js.map'))
  t.ok(maps.length > 10)
  for (const map of maps) {
    const { sources } = JSON.parse(await readFile(join(dist, map), 'utf8')) as { sources: string[] }
    for (const source of sources) t.ok(existsSync(resolve(dist, dirname(map), source)), `${map}: ${source}`)
  }
  await writeFile(
    join(project, 'fails.mjs'),
    `import Fastify from 'fastify'
     import { stateful } from 'fastify-stateful'
     const app = Fastify()
     await app.register(stateful, { storage: 'nosuch:', secret: 'a secret that is long enough for a cookie' })`,
  )
  const run = execute(project, process.execPath, ['--enable-source-maps', 'fails.mjs'])
  const { stderr } = await run.then(
    () => ({ stderr: '' }),
    (error: { stderr: string }) => error,
  )
  const named = [...stderr.matchAll(/\(?(?:file:\/\/)?(\/[^():]*fastify-stateful\/[^():]*):\d+:\d+/g)].map(
    ([, file]) => file ?? '',
  )
  t.ok(named.length > 0, stderr)
  t.same(
    named.filter((file) => !file.endsWith('.ts') || !existsSync(file)),
    [],
  )
})

t.test('a package that only one service needs is named when it is missing', async (t) => {
  const missing = {
    accounts: '@node-rs/argon2',
    dashboard: '@fastify/static',
    documentation: '@fastify/swagger',
    security: 'helmet',
    telemetry: '@opentelemetry/api',
  }
  for (const [service, name] of Object.entries(missing)) {
    const { code, message } = await printed(
      `${service}.mjs`,
      `import Fastify from 'fastify'
       import { ${service}, stateful } from 'fastify-stateful'
       const app = Fastify()
       await app.register(stateful, { storage: 'memory:', secret: 'a secret that is long enough for a cookie' })
       const { code, message } = await app.register(${service}).then(() => ({}), (error) => error)
       print({ code, message })`,
    )
    t.equal(code, 'STATEFUL_MISSING_PACKAGE', service)
    t.match(message, new RegExp(`^[^\\n]*${service}[^\\n]*npm install ${name}$`))
  }
})

t.test('the page on the registry: where it comes from, and links that lead somewhere', async (t) => {
  const manifest = JSON.parse(await readFile(join(root, 'package.json'), 'utf8'))
  t.match(manifest.repository, { type: 'git', url: /^git\+https:\/\/github\.com\/[\w-]+\/[\w-]+\.git$/ })
  t.match(manifest.homepage, /^https:\/\//)
  t.equal(manifest.peerDependencies.fastify, FASTIFY_VERSIONS, 'the range that the plugins ask for')
  const readme = await readFile(join(project, 'node_modules', 'fastify-stateful', 'README.md'), 'utf8')
  const links = [...readme.matchAll(/\]\((?!https?:|#)([^)#]+)/g)].map(([, link]) => link ?? '')
  t.ok(links.length > 5)
  for (const link of links) t.ok(existsSync(join(root, link)), link)
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

/** A file for each thing that a user relies on; together, because every program costs seconds. */
const consumers = {
  'everything.ts': `import Fastify from 'fastify'
     import stateful, { stateRoutes } from 'fastify-stateful'
     import type { SessionUser, StatefulOptions } from 'fastify-stateful'

     declare module 'fastify' {
       interface Session {
         user?: SessionUser
       }
     }
     interface Note {
       text: string
     }
     declare module 'fastify-stateful' {
       interface SessionUser {
         team?: string
       }
       interface StateKeyTypes {
         visitors: number
         names: string[]
         [note: \`note:\${string}\`]: Note
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
     const counted: number = await app.state.increment('visitors')
     const names: string[] = await app.state.append('names', 'ada')
     const note: Note = await app.state.merge('note:1', { text: 'x' })
     app.state.on('change:visitors', ({ value }) => app.log.info(\`\${(value ?? 0) + counted} \${names} \${note.text}\`))
     // @ts-expect-error no number
     app.state.increment('names')
     const size: number = app.state.size
     const hit: unknown = await app.cache.get('key')
     const kind: 'memory' | 'lmdb' | 'redis' = app.storage.kind
     app.log.info({ size, hit, kind, visitors })

     // @ts-expect-error the key is declared as a number
     await app.state.set('visitors', 'many')

     // @ts-expect-error an option that does not exist
     await app.register(stateful, { ...options, sesion: {} })`,
  'one-service.ts': `import Fastify from 'fastify'
     import { cache, storage } from 'fastify-stateful'
     const app = Fastify()
     await app.register(storage, { storage: 'memory:' })
     await app.register(cache, { l1: { maxEntries: 100 } })
     const answer: string = await app.cache.getOrSet('key', async () => 'value', { ttl: '1m' })
     app.log.info(answer)`,
  'client.ts': `import { type Op, type paths } from 'fastify-stateful/client'
     const op: Op = { op: 'set', key: 'a', value: { b: [1, null] } }
     type Login = paths['/login']['post']['requestBody']
     // @ts-expect-error the password is missing
     const login: Login = { content: { 'application/json': { username: 'ada' } } }
     process.stdout.write(JSON.stringify([op, login]))`,
}

t.test('its types hold in a strict project that checks those of every entry too, as Node resolves them', async (t) => {
  const manifest = JSON.parse(await readFile(join(root, 'package.json'), 'utf8')) as { exports: object }
  const entries = Object.keys(manifest.exports).filter((entry) => !entry.endsWith('.json'))
  const code = entries.map((entry, n) => `export * as entry${n} from 'fastify-stateful${entry.slice(1)}'`).join('\n')
  await compile(t, { ...consumers, 'entries.ts': code }, { module: 'nodenext' })
})

// That the declarations themselves compile is seen above; to check them again would take most of the time.
t.test('and as a bundler does', (t) =>
  compile(t, consumers, { module: 'esnext', moduleResolution: 'bundler', skipLibCheck: true }),
)

t.test("an application's own types of a session's user and of request.login stand", (t) =>
  compile(
    t,
    {
      'own-types.ts': `import Fastify, { type FastifyRequest } from 'fastify'
        import { session } from 'fastify-stateful/session'
        // As @fastify/passport declares it.
        declare function logIn<T = unknown>(this: FastifyRequest, user: T): Promise<void>
        declare module 'fastify' {
          interface Session { user: { id: number; team: string } }
          interface FastifyRequest { login: typeof logIn }
        }
        const app = Fastify()
        app.register(session, { secret: 'a secret', decorators: { login: 'beginSession' } })
        app.get('/', async (request) => {
          await request.login({ id: 1 })
          request.requireFresh('5m')
          await request.logout()
          return request.session.user.team
        })`,
    },
    { module: 'node16', skipLibCheck: true },
  ),
)

async function versionOf(name: string): Promise<string> {
  return JSON.parse(await readFile(join(root, 'node_modules', name, 'package.json'), 'utf8')).version
}

/** What a module of the project prints, as JSON. */
async function printed(file: string, code: string) {
  const print = 'const print = (value) => process.stdout.write(JSON.stringify(value));'
  await writeFile(join(project, file), `${print}\n${code}\n`)
  const { stdout } = await execute(project, process.execPath, [file])
  return JSON.parse(stdout)
}

/** Compiles these files with every check on, those of this package's declarations included. */
async function compile(
  t: Test,
  files: Record<string, string>,
  resolution: Record<string, string | boolean>,
): Promise<void> {
  const folder = join(project, `compile-${resolution['module']}`)
  await mkdir(folder)
  for (const [file, code] of Object.entries(files)) await writeFile(join(folder, file), code)
  const compilerOptions = {
    ...{
      target: 'es2023',
      skipLibCheck: false,
      ...resolution,
      strict: true,
      exactOptionalPropertyTypes: true,
      noEmit: true,
    },
    ...{ types: ['node'] },
  }
  await writeFile(join(folder, 'tsconfig.json'), JSON.stringify({ compilerOptions, include: ['*.ts'] }))
  const tsc = join(root, 'node_modules', 'typescript', 'bin', 'tsc')
  const output = await execute(project, process.execPath, [tsc, '-p', folder]).then(
    () => '',
    (error: { stdout: string }) => error.stdout,
  )
  t.equal(output, '')
}

async function redisScripts(): Promise<string[]> {
  return (await readdir(join(root, 'plugins'), { recursive: true })).filter((file) => file.endsWith('.lua'))
}

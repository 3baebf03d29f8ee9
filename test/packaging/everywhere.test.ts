/**
 * The packed package wherever people run code: bundled, in other test runners, on other versions of Node and Fastify.
 */
import { cp, mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { build } from 'esbuild'
import t from 'tap'
import { startRedis } from '../fixtures/redis-server.ts'
import { temporaryFolder } from '../fixtures/storages.ts'
import { execute, installPacked } from './project.ts'

// It asks the registry for what npm has not cached, and mostly waits for it.
t.setTimeout(600_000)
t.jobs = 4

const project = await installPacked(t, ['fastify', 'jest@30', 'vitest@4'])

/**
 * An application that uses each service; what it answers is on all storages the same. It listens, because Fastify's own
 * `inject` cannot be loaded by Jest on Node 20.
 */
const app = `
  import Fastify from 'fastify'
  import { serverOptions, stateful } from 'fastify-stateful'
  export async function run(storage) {
    const app = Fastify(serverOptions())
    await app.register(stateful, { storage, secret: 'a secret that is long enough for a cookie' })
    app.get('/', async (request) => {
      request.session.visits = (request.session.visits ?? 0) + 1
      const total = await app.state.increment('visits')
      return { total, greeting: await app.cache.getOrSet('greeting', () => ({ hello: 'world' }), { tags: ['words'] }) }
    })
    const url = await app.listen({ port: 0, host: '127.0.0.1' })
    const first = await fetch(url)
    const cookie = first.headers.get('set-cookie').split(';')[0]
    const second = await fetch(url, { headers: { cookie } })
    await app.cache.invalidateTags(['words'])
    const sessions = await app.sessions.count()
    await app.state.clear()
    await app.close()
    return { status: first.status, first: await first.json(), second: (await second.json()).total, sessions }
  }`
const ANSWER = { status: 200, first: { total: 1, greeting: { hello: 'world' } }, second: 2, sessions: 1 }

await writeFile(join(project, 'app.mjs'), app)
await writeFile(
  join(project, 'main.mjs'),
  `import { run } from './app.mjs'
   const main = async () => {
     const answers = {}
     for (const storage of process.argv.slice(2)) answers[storage] = await run(storage)
     process.stdout.write(JSON.stringify(answers))
   }
   main()`,
)

for (const format of ['esm', 'cjs'] as const) {
  t.test(`an application in one ${format} file, with nothing beside it`, async (t) => {
    const redis = await startRedis(t)
    const folder = await temporaryFolder(t)
    const file = join(folder, format === 'esm' ? 'bundle.mjs' : 'bundle.cjs')
    const { warnings } = await build({
      absWorkingDir: project,
      ...{ entryPoints: ['main.mjs'], outfile: file, bundle: true, platform: 'node', format, logLevel: 'silent' },
      // Native.
      external: ['lmdb'],
      // As esbuild's users do for packages that call require().
      ...(format === 'esm'
        ? { banner: { js: "import { createRequire as r } from 'node:module'; const require = r(import.meta.url)" } }
        : {}),
    })
    t.same(
      warnings.map(({ text }) => text).filter((text) => !/"import\.meta" is not available/.test(text)),
      [],
    )
    const run = [file, 'memory:', redis.url]
    const { stdout } = await execute(folder, process.execPath, run)
    t.same(JSON.parse(stdout), { 'memory:': ANSWER, [redis.url]: ANSWER })
  })
}

t.test('Jest, as it runs ES modules', async (t) => {
  const test = `import { run } from './app.mjs'
    test('runs', async () => { expect(await run('memory:')).toEqual(${JSON.stringify(ANSWER)}) })
    test('on LMDB too', async () => { expect(await run('lmdb:./jest-data')).toEqual(${JSON.stringify(ANSWER)}) })`
  await writeFile(join(project, 'jest.test.mjs'), test)
  const options = ['--testMatch', '**/jest.test.mjs', '--transform', '{}']
  const jest = ['--experimental-vm-modules', 'node_modules/jest/bin/jest.js', ...options]
  const { stderr } = await execute(project, process.execPath, jest)
  t.match(stderr, /Tests: +2 passed, 2 total/)
})

t.test('vitest', async (t) => {
  const test = `import { expect, test } from 'vitest'
    import { run } from './app.mjs'
    test('runs', async () => { expect(await run('memory:')).toEqual(${JSON.stringify(ANSWER)}) })
    test('on LMDB too', async () => { expect(await run('lmdb:./vitest-data')).toEqual(${JSON.stringify(ANSWER)}) })`
  await mkdir(join(project, 'vitest'), { recursive: true })
  await cp(join(project, 'app.mjs'), join(project, 'vitest/app.mjs'))
  await writeFile(join(project, 'vitest/app.test.mjs'), test)
  const vitest = ['node_modules/vitest/vitest.mjs', 'run', '--dir', 'vitest', '--reporter', 'json']
  const { stdout } = await execute(project, process.execPath, vitest)
  t.match(JSON.parse(stdout.slice(stdout.indexOf('{'))), { numPassedTests: 2, numTotalTests: 2 })
})

await writeFile(
  join(project, 'required.cjs'),
  `const { version } = process
   if (typeof require('fastify-stateful').stateful !== 'function') throw new Error(version)
   import('./main.mjs')`,
)

for (const version of ['20.19', '22', '24', 'latest']) {
  t.test(`Node ${version}, required and imported`, { buffered: true }, async (t) => {
    const node = ['exec', '--yes', '--prefer-offline', `--package=node@${version}`, '--', 'node', 'required.cjs']
    const folder = `lmdb:./data-${version}`
    const { stdout } = await execute(project, 'npm', [...node, 'memory:', folder])
    t.same(JSON.parse(stdout), { 'memory:': ANSWER, [folder]: ANSWER })
  })
}

t.test('the newest prerelease of Fastify 6: no plugin of ours refuses it', { buffered: true }, async (t) => {
  const folder = await installPacked(t, ['fastify@>=6.0.0-alpha.1 <6.0.0'], ['--legacy-peer-deps'])
  const { version } = JSON.parse(await readFile(join(folder, 'node_modules/fastify/package.json'), 'utf8'))
  t.match(version, /^6\./)
  await writeFile(join(folder, 'app.mjs'), app)
  await writeFile(
    join(folder, 'main.mjs'),
    `import { run } from './app.mjs'
     const answer = await run('memory:').catch(({ code, message }) => ({ code, message }))
     process.stdout.write(JSON.stringify(answer))`,
  )
  const node = ['exec', '--yes', '--prefer-offline', '--package=node@24', '--', 'node', 'main.mjs']
  const { stdout } = await execute(folder, 'npm', node)
  const answer = JSON.parse(stdout) as { code?: string; message?: string }
  t.comment(`Fastify ${version}: ${stdout}`)
  if (answer.code === undefined) t.same(answer, ANSWER)
  else {
    t.equal(answer.code, 'FST_ERR_PLUGIN_VERSION_MISMATCH')
    t.match(answer.message, /@fastify\//, 'a dependency does')
    t.notMatch(answer.message, /stateful/)
  }
})

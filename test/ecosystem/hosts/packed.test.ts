/** Hosts that have the package as its users get it: one in CommonJS, and one of NestJS on its Fastify adapter. */
import { execFile } from 'node:child_process'
import { copyFile, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import t from 'tap'
import ts from 'typescript'
import { ADMIN_PASSWORD, SECRET } from '../../fixtures/credentials.ts'
import { untracked } from '../../fixtures/untracked.ts'
import { installPacked } from '../../packaging/project.ts'

// It asks the registry for what npm has not cached.
t.setTimeout(300_000)

const source = (name: string) => fileURLToPath(new URL(`packed/${name}`, import.meta.url))
const project = await installPacked(t, [
  ...['fastify@5.12.8', '@fastify/swagger@9.9.3', '@fastify/swagger-ui@6.1.3', '@node-rs/argon2@2.2.1', 'ws@8.23.0'],
  ...['@nestjs/common@12.5.1', '@nestjs/core@12.5.1', '@nestjs/platform-fastify@12.5.0'],
  ...['reflect-metadata@0.2.2', 'rxjs@7.8.2'],
])

async function run(file: string) {
  const env = { ...process.env, SECRET, PASSWORD: ADMIN_PASSWORD }
  const { stdout } = await promisify(execFile)(...untracked(process.execPath, [file]), { cwd: project, env })
  return JSON.parse(stdout)
}

t.test('in CommonJS', async (t) => {
  await copyFile(source('commonjs.cjs'), join(project, 'commonjs.cjs'))
  const told = await run('commonjs.cjs')
  t.match(told, { login: 200, nodes: [], title: 'Shop', address: '/api/sync', security: [{ statefulSession: [] }] })
  for (const path of ['/team', '/api/login', '/api/sync/nodes']) t.ok(told.paths.includes(path), path)
})

t.test('NestJS on its Fastify adapter', async (t) => {
  const { outputText } = ts.transpileModule(await readFile(source('nest.ts'), 'utf8'), {
    compilerOptions: {
      target: ts.ScriptTarget.ES2022,
      module: ts.ModuleKind.ESNext,
      experimentalDecorators: true,
      emitDecoratorMetadata: true,
    },
  })
  await writeFile(join(project, 'nest.mjs'), outputText)
  const told = await run('nest.mjs')
  t.equal(told.login, 200)
  t.strictSame(told.catalogue, { items: ['Lamp'], views: 1, user: 'admin' }, 'its controllers have our services')
  t.match(told.gone, { statusCode: 410, message: 'sold out' }, 'and answer errors as NestJS does')
  t.match(told.state, { key: 'views', value: 1 })
  t.match(told.problem, { status: 401, code: 'STATEFUL_UNAUTHENTICATED' })
  t.match(told.socket, { type: 'fullSync', state: { views: 1 } })
  t.equal(told.title, 'Shop')
  for (const path of ['/catalogue', '/api/login', '/api/state']) t.ok(told.paths.includes(path), path)
  t.equal(told.closed, true)
})

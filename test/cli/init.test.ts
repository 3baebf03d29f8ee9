import { execFile } from 'node:child_process'
import { mkdir, readdir, readFile, stat, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import t from 'tap'
import { readConfig } from '../../config.ts'
import { command } from '../fixtures/command.ts'
import { temporaryFolder } from '../fixtures/storages.ts'
import { untracked } from '../fixtures/untracked.ts'

const MODULES = fileURLToPath(new URL('../../node_modules', import.meta.url))
const ROOT = fileURLToPath(new URL('../..', import.meta.url))

t.test('a starter application whose own test is green, with secrets of its own', async (t) => {
  const folder = await temporaryFolder(t)
  const { code, stdout } = await command(['init', 'My App', '--json'], { cwd: folder })
  t.equal(code, 0)
  const { adminPassword, files } = JSON.parse(stdout)
  const root = join(folder, 'My App')
  t.ok(files.includes('Dockerfile'))
  t.equal((await stat(join(root, '.env'))).mode & 0o777, 0o600, 'only its owner reads the secrets')
  t.match(await readFile(join(root, '.gitignore'), 'utf8'), /^\.env$/m)
  t.equal(JSON.parse(await readFile(join(root, 'package.json'), 'utf8')).name, 'my-app')

  const env = Object.fromEntries(
    (await readFile(join(root, '.env'), 'utf8'))
      .split('\n')
      .filter((line) => /^[A-Z]/.test(line))
      .map((line) => line.split(/=(.*)/s) as [string, string]),
  )
  t.equal(env['ADMIN_PASSWORD'], adminPassword)
  const config = await readConfig({ ...env, NODE_ENV: 'production' })
  t.equal(config.secrets.length, 1, 'the secret is good enough for production')
  const other = JSON.parse((await command(['init', 'other', '--json'], { cwd: folder })).stdout)
  t.not(other.adminPassword, adminPassword)

  // What npm install would put there; test/packaging/newcomer.test.ts lets it.
  const modules = join(root, 'node_modules')
  await mkdir(modules)
  for (const name of await readdir(MODULES)) await symlink(join(MODULES, name), join(modules, name))
  await symlink(ROOT, join(modules, 'fastify-stateful'))
  const run = promisify(execFile)(...untracked(process.execPath, ['--test']), {
    cwd: root,
    env: { PATH: process.env['PATH'] },
  })
  t.match((await run).stdout, /# pass 1\n/)
})

t.test('a folder with something in it is left alone', async (t) => {
  const folder = await temporaryFolder(t)
  await writeFile(join(folder, 'mine.txt'), '')
  t.match(await command(['init'], { cwd: folder }), { code: 1, stderr: /is not empty \('mine.txt' is there\)/ })
  t.same(await readdir(folder), ['mine.txt'])
})

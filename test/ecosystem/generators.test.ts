import { execFile, execFileSync } from 'node:child_process'
import { cp, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import t from 'tap'
import { ADMIN_PASSWORD } from '../fixtures/credentials.ts'
import { startServer } from '../fixtures/server-process.ts'
import { temporaryFolder } from '../fixtures/storages.ts'
import { untracked } from '../fixtures/untracked.ts'

/** The generators with what they need; `npm test` has installed them, `npm ci` does not. */
const tools = fileURLToPath(new URL('generators', import.meta.url))
const runs = promisify(execFile)

/** Both newer generators ask for it. */
const LEAST_NODE = [22, 18] as const

/** A Node that the generators run on: this one, or one from the registry. */
function modernNode(): string {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number)
  const modern = major > LEAST_NODE[0] || (major === LEAST_NODE[0] && minor >= LEAST_NODE[1])
  if (modern) return process.execPath
  const where = ['-y', 'node@24', '-p', 'process.execPath']
  return execFileSync(...untracked('npx', where), { encoding: 'utf8' }).trim()
}

t.test('clients by three generators compile strictly and do as they say at the running server', async (t) => {
  const { url } = await startServer(t, { STORAGE: 'memory:', LOG_LEVEL: 'error' })
  const folder = await temporaryFolder(t)
  await cp(tools, folder, { recursive: true, filter: (source) => !source.includes('node_modules') })
  await symlink(join(tools, 'node_modules'), join(folder, 'node_modules'))
  await writeFile(join(folder, 'openapi.json'), await (await fetch(`${url}/openapi.json`)).text())
  const orval = {
    input: './openapi.json',
    output: { target: './generated/orval/api.ts', client: 'fetch', baseUrl: url },
  }
  await writeFile(join(folder, 'orval.config.mjs'), `export default ${JSON.stringify({ api: orval })}\n`)

  const node = modernNode()
  const generate = (script: string, ...args: string[]) =>
    execFileSync(...untracked(node, [join('node_modules', script), ...args]), { cwd: folder, stdio: 'pipe' })
  generate(
    '@hey-api/openapi-ts/bin/run.js',
    '-i',
    'openapi.json',
    '-o',
    'generated/hey-api',
    '-c',
    '@hey-api/client-fetch',
  )
  generate('orval/dist/bin/orval.mjs', '--config', 'orval.config.mjs')
  generate('openapi-typescript/bin/cli.js', 'openapi.json', '-o', 'generated/openapi-typescript.ts')

  const compiled = await runs(process.execPath, ['node_modules/typescript/bin/tsc', '-p', '.'], { cwd: folder }).catch(
    (error: { stdout: string }) => error,
  )
  t.equal(compiled.stdout, '', 'tsc has nothing to say')

  for (const client of ['hey-api', 'orval', 'openapi-typescript']) {
    await t.test(client, async (t) => {
      const script = `${client}.mjs`
      await runs(
        'node_modules/.bin/esbuild',
        [
          ...[
            `${client}.ts`,
            '--bundle',
            '--platform=node',
            '--format=esm',
            '--log-level=error',
            `--outfile=${script}`,
          ],
        ],
        { cwd: folder },
      )
      const { stdout } = await runs(process.execPath, [script, url, ADMIN_PASSWORD], { cwd: folder })
      t.same(JSON.parse(stdout), { login: 'admin', profile: 'admin', value: 3, missing: 'STATEFUL_NOT_FOUND' })
    })
  }
})

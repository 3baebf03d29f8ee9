/**
 * `node scripts/checks.mjs documents|package`: what `npm run check` asks of other packages' tools. They are installed
 * here, when they are needed: with them `npm ci` would take half as long again.
 */
import { spawnSync } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { installFolder } from './install-folder.mjs'

const root = fileURLToPath(new URL('..', import.meta.url))
const tools = fileURLToPath(new URL('../checks', import.meta.url))

const checks = {
  async documents() {
    run('redocly', ['lint', 'openapi/openapi.json'])
    await validateAsyncApi()
  },
  async package() {
    run('publint', ['--strict'])
    run('attw', ['--pack', '.', '--profile', 'esm-only'])
    run('knip', ['--config', 'scripts/knip.json'])
  },
}

const check = checks[process.argv[2]]
if (!check) throw new Error(`Name one of ${Object.keys(checks).join(', ')}`)
installFolder(tools)
await check()

function run(command, args) {
  const { status, error } = spawnSync(join(tools, 'node_modules', '.bin', command), args, {
    cwd: root,
    stdio: 'inherit',
    env: { ...process.env, REDOCLY_TELEMETRY: 'off', REDOCLY_SUPPRESS_UPDATE_NOTICE: 'true' },
  })
  if (error) throw error
  if (status !== 0) process.exit(status ?? 1)
}

async function validateAsyncApi() {
  const { Parser } = createRequire(join(tools, 'package.json'))('@asyncapi/parser')
  const { diagnostics } = await new Parser().parse(await readFile(join(root, 'openapi/asyncapi.json'), 'utf8'))
  const faults = diagnostics.filter(({ severity }) => severity <= 1)
  for (const { code, message, path } of faults) process.stderr.write(`${path.join('.')}: ${message} (${code})\n`)
  if (faults.length > 0) process.exit(1)
}

/** `npm run bench -- <suite>`: installs the peers where they are missing, checks the types, runs the suite. */
import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { installFolder } from './install-folder.mjs'

const root = fileURLToPath(new URL('..', import.meta.url))

installFolder(`${root}/bench`)
run('npx', ['--no-install', 'tsc', '-p', 'bench'])
run(process.execPath, ['--expose-gc', '--import', './scripts/typescript.mjs', 'bench/run.ts', ...process.argv.slice(2)])
// Its tables are aligned by the formatter, like those of every other document.
if (process.argv.includes('--write')) run('npx', ['--no-install', 'biome', 'format', '--write', 'docs/benchmarks.md'])

/** Its standard output goes to stderr except for the suite's: `--json` must be the last and may be the only line. */
function run(command, args) {
  const stdout = args.includes('bench/run.ts') ? 'inherit' : 2
  const { status, error } = spawnSync(command, args, { cwd: root, stdio: ['inherit', stdout, 'inherit'] })
  if (error) throw error
  if (status !== 0) process.exit(status ?? 1)
}

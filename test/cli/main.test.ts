/** What all commands have in common: help, exit codes, the environment, what is printed where. */
import { execFile } from 'node:child_process'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import t from 'tap'
import { createProgram } from '../../cli/commands.ts'
import { command } from '../fixtures/command.ts'
import { temporaryFolder } from '../fixtures/storages.ts'

const MAIN = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url))
const BOLD = '\u001b[1m'
const { version } = JSON.parse(await readFile(new URL('../../package.json', import.meta.url), 'utf8'))

t.test('help and version end with 0, and help names every command', async (t) => {
  const help = await command(['--help'])
  t.equal(help.code, 0)
  for (const { name } of createProgram().commands.map((one) => ({ name: one.name() }))) {
    t.match(help.stdout, new RegExp(`^ {2}${name}\\b`, 'm'), name)
  }
  t.match(await command(['--version']), { code: 0, stdout: `${version}\n` })
})

t.test('a wrong call ends with 2 and says which was meant', async (t) => {
  t.match(await command(['verfy']), { code: 2, stdout: '', stderr: /Did you mean verify\?/ })
  t.match(await command(['get']), { code: 2, stderr: /missing required argument 'key'/ })
  t.match(await command(['get', 'a', '--spce', 'b']), { code: 2, stderr: /Did you mean --space\?/ })
  t.match(await command(['set', 'a', 'text']), { code: 2, stderr: /'"text"'/ })
  t.match(await command(['set', 'a', '1', '--ttl', '5m']), { code: 2, stderr: /whole number/ })
  t.match(await command(['users', 'create', 'a', '--role', 'root']), {
    code: 2,
    stderr: /administrator, observer, user/,
  })
})

t.test('a failure ends with 1; with --json it is JSON, and stdout stays empty', async (t) => {
  const env = { STORAGE: 'nosuch:x' }
  t.match(await command(['get', 'a'], { env }), { code: 1, stdout: '', stderr: /\[STATEFUL_UNKNOWN_STORAGE\]\n$/ })
  const { code, stdout, stderr } = await command(['get', 'a', '--json'], { env })
  t.match({ code, stdout }, { code: 1, stdout: '' })
  t.match(JSON.parse(stderr), { error: { code: 'STATEFUL_UNKNOWN_STORAGE', message: /^Storage 'nosuch'/ } })
})

t.test('the .env of the folder is read; the environment has precedence, an option the last word', async (t) => {
  const cwd = await temporaryFolder(t)
  await writeFile(join(cwd, '.env'), 'STORAGE=lmdb:./from-file\nSTATEFUL_URL=\n')
  await command(['set', 'where', '"file"'], { cwd })
  await command(['set', 'where', '"environment"'], { cwd, env: { STORAGE: 'lmdb:./from-environment' } })
  await command(['set', 'where', '"option"', '--storage', 'lmdb:./from-option'], { cwd })
  for (const from of ['file', 'environment', 'option']) {
    const { stdout } = await command(['get', 'where', '--storage', `lmdb:./from-${from}`], { cwd })
    t.equal(stdout, `"${from}"\n`)
  }
})

t.test('no colour and no progress in a pipe; on a terminal colours unless NO_COLOR', async (t) => {
  const piped = await command(['--help'])
  t.notOk(piped.stdout.includes(BOLD))
  // `script` gives the command a terminal.
  const onTerminal = (env: Record<string, string>) =>
    promisify(execFile)('script', ['-qec', `'${process.execPath}' '${MAIN}' --help`, '/dev/null'], {
      env: { PATH: process.env['PATH'], TERM: 'xterm-256color', ...env },
    })
  t.ok((await onTerminal({})).stdout.startsWith(`${BOLD}Usage:`))
  t.notOk((await onTerminal({ NO_COLOR: '1' })).stdout.includes(BOLD))
})

t.test('a reader that goes away ends it quietly', async (t) => {
  const run = promisify(execFile)('sh', ['-c', `'${process.execPath}' '${MAIN}' openapi | head -c 1`])
  t.match(await run, { stdout: '{', stderr: '' })
})

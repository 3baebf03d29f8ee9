#!/usr/bin/env node
/** `fastify-stateful`: see docs/cli.md, or `fastify-stateful --help`. */
import { CommanderError } from '@commander-js/extra-typings'
import { createProgram } from './commands.ts'
import { EXIT } from './exit-codes.ts'
import { printable } from './output.ts'

/** What else helps with an error, by its code. */
const HINTS: { [code: string]: string } = {
  STATEFUL_STORAGE_OWNED:
    'If a server has the folder, ask it: --url http://localhost:3000 --token <access token> (docs/cli.md).',
  STATEFUL_UNAUTHENTICATED: 'Pass an access token: --token, or STATEFUL_TOKEN in the environment.',
}

// Who reads the output has enough of it: `fastify-stateful routes | head`.
process.stdout.on('error', (error: NodeJS.ErrnoException) =>
  process.exit(error.code === 'EPIPE' ? EXIT.done : EXIT.failed),
)

try {
  // What the server of this folder is started with; the environment has precedence.
  process.loadEnvFile()
} catch (error) {
  if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
}
// An empty variable means "not set", as for the server.
for (const name of ['STORAGE', 'STATEFUL_URL', 'STATEFUL_TOKEN']) if (process.env[name] === '') delete process.env[name]

try {
  await createProgram().parseAsync()
} catch (error) {
  process.exitCode = report(error as NodeJS.ErrnoException)
}

function report(error: NodeJS.ErrnoException): number {
  // Commander has said what is wrong.
  if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.done : EXIT.usage
  const [reason] = error.message.split('\n')
  const { code = '' } = error
  const hint = HINTS[code]
  if (process.argv.includes('--json')) process.stderr.write(`${JSON.stringify({ error: { code, message: reason } })}\n`)
  else {
    process.stderr.write(`fastify-stateful: ${printable(reason ?? '')}${code ? ` [${code}]` : ''}\n`)
    if (hint) process.stderr.write(`${hint}\n`)
  }
  return EXIT.failed
}

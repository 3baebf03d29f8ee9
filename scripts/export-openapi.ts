/**
 * Writes the contract that the code already holds: openapi/openapi.json, openapi/asyncapi.json, the client's types and
 * the tables of docs/access.md and docs/cli.md. They are committed, checked by test/openapi, and never edited.
 */
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import openapiTS, { astToString, COMMENT_HEADER, type OpenAPI3 } from 'openapi-typescript'
import { build } from '../app.ts'
import { createProgram } from '../cli/commands.ts'
import { withAccessTable } from './access-table.ts'
import { withCommandTable } from './command-table.ts'

const root = new URL('..', import.meta.url)

/** Each file by its path from the root. The same sources always give the same text. */
export async function generate(): Promise<Map<string, string>> {
  // Nothing of this application outlives the call, so neither secret opens anything.
  const app = await build({
    storage: 'memory:',
    secret: 'only-to-build-the-document-'.repeat(2),
    adminPassword: 'unused-password',
  })
  try {
    await app.ready()
    // Where the server is by default.
    const headers = { host: 'localhost:3000' }
    const openapi = app.swagger()
    const types = await openapiTS(structuredClone(openapi) as OpenAPI3)
    return new Map([
      ['openapi/openapi.json', json(openapi)],
      ['openapi/asyncapi.json', json((await app.inject({ url: '/asyncapi.json', headers })).json())],
      ['docs/access.md', withAccessTable(await readFile(new URL('docs/access.md', root), 'utf8'), openapi)],
      ['docs/cli.md', withCommandTable(await readFile(new URL('docs/cli.md', root), 'utf8'), createProgram())],
      ['client/api.d.ts', `${COMMENT_HEADER}${astToString(types)}`],
    ])
  } finally {
    await app.close()
  }
}

const json = (document: object) => `${JSON.stringify(document, null, 2)}\n`

/** With `--check` nothing is written: a committed file that is not what the code says ends the process with 1. */
if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const check = process.argv.includes('--check')
  for (const [path, text] of await generate()) {
    const file = new URL(path, root)
    if (check) {
      if ((await readFile(file, 'utf8').catch(() => '')) === text) continue
      process.stderr.write(`${path} is not current: run \`npm run openapi\` and commit it\n`)
      process.exitCode = 1
      continue
    }
    await mkdir(new URL('.', file), { recursive: true })
    await writeFile(file, text)
    process.stdout.write(`${path}\n`)
  }
}

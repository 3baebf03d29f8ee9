import { readFile, writeFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import type { JsonOption } from './options.ts'
import { answered, restOf, type Server } from './server.ts'

export interface OpenApiOptions extends Partial<Server>, JsonOption {
  asyncapi?: true | undefined
  output?: string | undefined
}

/** Prints the contract, or writes it to a file; with `json` on one line. */
export async function openapi({ asyncapi, output, json, ...server }: OpenApiOptions): Promise<void> {
  const text = `${JSON.stringify(await contract(asyncapi ? 'asyncapi' : 'openapi', server), null, json ? 0 : 2)}\n`
  if (output === undefined) process.stdout.write(text)
  else await writeFile(output, text)
}

/**
 * The document of a running server, or without a URL that of the reference server in this package.
 * @throws ServerError
 */
export async function contract(kind: 'openapi' | 'asyncapi', { url, token }: Partial<Server>): Promise<object> {
  if (url === undefined) {
    const file = import.meta.resolve(`fastify-stateful/${kind}.json`)
    return JSON.parse(await readFile(fileURLToPath(file), 'utf8'))
  }
  return (await answered(restOf({ url, token }).GET(`/${kind}.json`))) as object
}

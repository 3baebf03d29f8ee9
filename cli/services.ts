import Fastify, { type FastifyInstance } from 'fastify'
import { accounts } from '../plugins/accounts/index.ts'
import { session } from '../plugins/session/index.ts'
import { storage } from '../plugins/storage/index.ts'
import { InvalidConfigurationError } from '../plugins/support/errors.ts'
import { randomText } from '../plugins/support/random.ts'

/**
 * Runs with the storage, sessions and accounts of an application, without its server.
 * @throws STATEFUL_INVALID_CONFIGURATION for `memory:`, and what opening a storage throws
 */
export async function withServices<Result>(
  url: string,
  run: (app: FastifyInstance) => Result | Promise<Result>,
): Promise<Result> {
  const app = Fastify()
  try {
    await app.register(storage, { storage: reachable(url), backup: false })
    // Commands end sessions and open none, so what signs them does not matter.
    await app.register(session, { secret: randomText(32), production: false, onEviction: 'warn' })
    await app.register(accounts, { bootstrap: false })
    await app.ready()
    return await run(app)
  } finally {
    await app.close()
  }
}

/** @throws STATEFUL_INVALID_CONFIGURATION for a storage that a process has for itself */
export function reachable(url: string): string {
  if (url !== 'memory:') return url
  throw new InvalidConfigurationError(
    "STORAGE is 'memory:', which only the server's own process can read. Ask the server: --url and --token",
  )
}

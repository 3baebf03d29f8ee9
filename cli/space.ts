import { openStateLog } from '../plugins/state/log/open.ts'
import { STATE_RULES } from '../plugins/state/options.ts'
import type { Space } from '../plugins/state/space.ts'
import { StateManager } from '../plugins/state/spaces.ts'
import { openStorage } from '../plugins/storage/index.ts'
import type { Storage } from '../plugins/storage/storage.ts'
import { readOptions } from '../plugins/support/options.ts'
import { reachable } from './services.ts'

/**
 * Runs with a space of a storage, without a server.
 * @throws what opening a storage and a space throws
 */
export async function withSpace<Result>(
  url: string,
  name: string,
  run: (space: Space, storage: Storage) => Result | Promise<Result>,
): Promise<Result> {
  const storage = await openStorage(reachable(url))
  try {
    const manager = stateOn(storage)
    try {
      const space = manager.space(name)
      await space.ready
      return await run(space, storage)
    } finally {
      await manager.close()
    }
  } finally {
    await storage.close()
  }
}

function stateOn(storage: Storage): StateManager {
  const { limits, writeTimeout, pollInterval, history } = readOptions(STATE_RULES, {}, 'state')
  return new StateManager({
    // Looking at a space must not make it.
    openLog: (space) => openStateLog(storage, space, history, { ack: 'primary', ackTimeout: 500, makes: false }),
    limits,
    writeTimeout,
    pollInterval,
    history,
    onError: (error, what) => process.stderr.write(`fastify-stateful: ${what}: ${(error as Error).message}\n`),
  })
}

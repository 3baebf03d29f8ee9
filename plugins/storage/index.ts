import { randomUUID } from 'node:crypto'
import { type Clock, systemClock } from '../support/clock.ts'
import { defineService } from '../support/define.ts'
import { type Duration, milliseconds } from '../support/durations.ts'
import { InvalidOptionError, UnknownStorageError } from '../support/errors.ts'
import type { BackupPlan } from './lmdb/backup.ts'
import type { LmdbOptions } from './lmdb/open.ts'
import { describeProblem, isDamage } from './lmdb/problem.ts'
import type { RedisStorageOptions } from './redis/open.ts'
import type { Storage } from './storage.ts'

export type { RedisStorageOptions } from './redis/open.ts'
export type { LmdbStorage, MemoryStorage, RedisStorage, Storage } from './storage.ts'

declare module 'fastify' {
  interface FastifyInstance {
    /** The one set of connections that all services share. */
    storage: Storage
  }
}

export interface StorageOptions {
  /**
   * `'memory:'`, `'lmdb:<folder>'`, `'redis://…'`, `'redis+cluster://…'`, `'redis+sentinel://…'` (with TLS `rediss`),
   * or Redis with options. Default `'lmdb:./data'`.
   */
  storage?: string | RedisStorageOptions
  /**
   * LMDB only: copies of the database in `<folder>/backups`, made beside the running server, and used when a database
   * is damaged beyond what can be kept of it. `every` from one to the next, default `'24h'`, at least a second; `keep`
   * is how many there are at most, default 3. `false`: none are made; those that are there are still used.
   */
  backup?: { every?: Duration; keep?: number } | false
  /**
   * LMDB only: how long a boot may take to bring to safety what is sound of a damaged file, default `'7s'`. For large
   * folders raise it together with Fastify's `pluginTimeout` (10 s), which has to stay above it.
   */
  recoveryTimeout?: Duration
  /** Default: the system's. */
  clock?: Clock
}

/**
 * Opens a storage without Fastify (scripts, tests).
 * @throws STATEFUL_UNKNOWN_STORAGE, STATEFUL_STORAGE_OWNED, STATEFUL_STORAGE_UNAVAILABLE, STATEFUL_STORAGE_UNCHECKED,
 * STATEFUL_STORAGE_NOT_SALVAGED
 */
export async function openStorage(
  target: string | RedisStorageOptions = 'lmdb:./data',
  lmdb: LmdbOptions = {},
): Promise<Storage> {
  const instanceId = randomUUID()
  const options = typeof target === 'string' ? { url: target } : target
  if (options.url === 'memory:') return openMemory(instanceId)
  if (options.url.startsWith('lmdb:') && options.url.length > 'lmdb:'.length) {
    // A driver is loaded by whom it serves: an application on one storage does not wait for the others'.
    const { openLmdb } = await import('./lmdb/open.ts')
    return openLmdb(options.url.slice('lmdb:'.length), instanceId, lmdb)
  }
  if (/^rediss?(\+(cluster|sentinel))?:\/\//.test(options.url)) {
    const { openRedis } = await import('./redis/open.ts')
    return openRedis(options, instanceId)
  }
  // What stands before the colon is enough to see the mistake; the rest may hold a password.
  throw new UnknownStorageError(options.url.split(':')[0])
}

function openMemory(instanceId: string): Storage {
  return { kind: 'memory', instanceId, async ping() {}, async close() {} }
}

export const storage = defineService<StorageOptions>('storage', async (fastify, options) => {
  const log = fastify.log.child({ plugin: 'storage' })
  const plan = backupPlan(options.backup)
  const recoveryTimeout = options.recoveryTimeout ?? '7s'
  const opened = await openStorage(options.storage, {
    clock: options.clock ?? systemClock,
    recoveryTimeout: milliseconds(recoveryTimeout, 'recoveryTimeout'),
    onDamage(problem) {
      const what = { problem: describeProblem(problem) }
      if (isDamage(problem)) log.error(what, 'the database is damaged: restart, so that the boot keeps what is sound')
      else log.warn(what, 'a record is not what was written, and is not used')
    },
  })
  fastify.decorate<Storage>('storage', opened)
  fastify.addHook('onClose', () => opened.close())
  if (opened.kind === 'lmdb') {
    if (opened.recovery) {
      log.error(opened.recovery, 'the database was damaged: what is sound was kept, the damaged file is set aside')
    }
    if (plan) {
      await opened.backups.start(plan, {
        onMade: (backup) => log.info(backup, 'backup made'),
        onFailed: (error) => log.error({ err: error }, 'backup failed'),
      })
    }
  }
  if (opened.kind === 'redis') {
    const { registerRedis } = await import('./redis/register.ts')
    await registerRedis(fastify, opened, log)
  }
})

/** @throws STATEFUL_INVALID_OPTION, STATEFUL_INVALID_DURATION */
function backupPlan(backup: StorageOptions['backup'] = {}): BackupPlan | undefined {
  if (backup === false) return undefined
  const { every = '24h', keep = 3 } = backup
  const plan = { every: milliseconds(every, 'backup.every'), keep }
  if (plan.every < 1_000) throw new InvalidOptionError('backup.every', 'must be at least a second.')
  if (!Number.isSafeInteger(keep) || keep < 1)
    throw new InvalidOptionError('backup.keep', 'must be a whole number from 1.')
  return plan
}

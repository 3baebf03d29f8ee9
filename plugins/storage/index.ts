import { randomUUID } from 'node:crypto'
import type { Clock } from '../support/clock.ts'
import { defineService } from '../support/define.ts'
import type { Duration } from '../support/durations.ts'
import { UnknownStorageError } from '../support/errors.ts'
import {
  asGiven,
  clock,
  duration,
  invalidOption,
  type Rules,
  readOptions,
  text,
  wholeNumber,
} from '../support/options.ts'
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

/** Options of the plugin {@link storage}. */
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

const REDIS_RULES = {
  url: required,
  prefix: text(undefined),
  redis: asGiven<RedisStorageOptions['redis']>(),
  cluster: asGiven<RedisStorageOptions['cluster']>(),
} satisfies Rules<RedisStorageOptions>
const BACKUP_RULES = { every: duration('24h', { least: '1s' }), keep: wholeNumber(3) }

/** What each option must be, and what holds without it. @internal */
export const STORAGE_RULES = {
  storage: (given: unknown = 'lmdb:./data', option: string) =>
    typeof given === 'string' ? given : readOptions(REDIS_RULES, given, option),
  backup: (given: unknown, option: string): BackupPlan | undefined =>
    given === false ? undefined : readOptions(BACKUP_RULES, given, option),
  recoveryTimeout: duration('7s'),
  clock,
} satisfies Rules<StorageOptions>

function required(given: unknown, option: string): string {
  const read = text(undefined)(given, option)
  if (read === undefined) throw invalidOption(option, 'is missing.')
  return read
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

/** @throws at boot what `openStorage` throws, STATEFUL_INVALID_OPTION, STATEFUL_INVALID_DURATION */
export const storage = defineService<StorageOptions>('storage', async (fastify, options) => {
  const log = fastify.log.child({ plugin: 'storage' })
  const { storage: target, backup: plan, recoveryTimeout, clock } = readOptions(STORAGE_RULES, options)
  const opened = await openStorage(target, {
    clock,
    recoveryTimeout,
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

import { availableParallelism } from 'node:os'
import type { Storage } from '../storage/storage.ts'
import { defineService } from '../support/define.ts'
import { InvalidOptionError } from '../support/errors.ts'
import type { AccountStore } from './account-store.ts'
import { Accounts, type Bootstrap } from './accounts.ts'
import type { LoginThrottle, ThrottleOptions } from './login-throttle.ts'
import { loadArgon2 } from './passwords.ts'
import { LmdbAccountStore } from './stores/lmdb.ts'
import { MemoryAccountStore } from './stores/memory.ts'
import { RedisAccountStore } from './stores/redis.ts'

export type { AccountChange, AccountStore, StoredAccount } from './account-store.ts'
export { type AccountPatch, Accounts, type Authentication, type Bootstrap, type NewAccount } from './accounts.ts'
export type { Attempt, DelayOptions, LoginThrottle, ThrottleOptions } from './login-throttle.ts'

declare module 'fastify' {
  interface FastifyInstance {
    accounts: Accounts
    /** Counts wrong passwords, wherever they are tried. */
    loginThrottle: LoginThrottle
  }
}

export interface AccountsOptions {
  /**
   * The first administrator, created when there is no account yet, and again when the storage has lost them all while
   * the server runs. `false` creates none.
   */
  bootstrap?: Bootstrap | false
  /** Default: by `app.storage`. */
  store?: AccountStore
  /** Passwords hashed at the same time. Default: processors, at most 4 (libuv has no more threads for it). */
  concurrency?: number
  /** Logins that may wait for that; more get 503 STATEFUL_OVERLOADED. Default 200. */
  queue?: number
  /** How many failed logins are too many. */
  throttle?: ThrottleOptions
}

/**
 * Accounts with passwords, as the reference server's login needs them. Sessions work without them.
 *
 * @throws at boot STATEFUL_INVALID_OPTION, STATEFUL_STORAGE_UNAVAILABLE
 */
export const accounts = defineService<AccountsOptions>(
  'accounts',
  async (fastify, options) => {
    const concurrency = options.concurrency ?? Math.min(availableParallelism(), 4)
    const queue = options.queue ?? 200
    if (!Number.isSafeInteger(concurrency) || concurrency < 1) {
      throw new InvalidOptionError('concurrency', 'must be a whole number from 1.')
    }
    if (!Number.isSafeInteger(queue) || queue < 0) {
      throw new InvalidOptionError('queue', 'must be a whole number from 0.')
    }
    // Large packages, which an import of this one should not load.
    const [{ LoginThrottle }] = await Promise.all([import('./login-throttle.ts'), loadArgon2()])
    const throttle = new LoginThrottle(fastify.storage, options.throttle)
    const log = fastify.log.child({ plugin: 'accounts' })
    const engine = new Accounts(options.store ?? storeOf(fastify.storage), {
      concurrency,
      queue,
      onRestored: () =>
        log.error('the storage has lost all accounts; the administrator is there again, the others are not'),
    })
    if (options.bootstrap !== false) await engine.bootstrap(options.bootstrap)
    fastify.decorate('accounts', engine)
    fastify.decorate('loginThrottle', throttle)
  },
  { decorators: { fastify: ['storage'] } },
)

function storeOf(storage: Storage): AccountStore {
  if (storage.kind === 'redis') return new RedisAccountStore(storage)
  return storage.kind === 'lmdb' ? new LmdbAccountStore(storage) : new MemoryAccountStore()
}

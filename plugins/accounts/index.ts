import { availableParallelism } from 'node:os'
import { defineService } from '../support/define.ts'
import { asGiven, type Rules, readOptions, supplied, text, wholeNumber } from '../support/options.ts'
import type { AccountStore } from './account-store.ts'
import { Accounts, type Bootstrap } from './accounts.ts'
import type { LoginThrottle, ThrottleOptions } from './login-throttle.ts'
import { loadArgon2 } from './passwords.ts'
import { accountStoreOn } from './stores/on-storage.ts'
import { suppliedStore } from './stores/supplied.ts'

export type { AccountChange, AccountQuery, AccountStore, StoredAccount } from './account-store.ts'
export {
  type AccountList,
  type AccountListQuery,
  type AccountPatch,
  Accounts,
  type Authentication,
  type Bootstrap,
  type NewAccount,
} from './accounts.ts'
export type { Attempt, DelayOptions, LoginThrottle, ThrottleOptions } from './login-throttle.ts'
export { type Recovered, recoverAdministrator } from './recovery.ts'

declare module 'fastify' {
  interface FastifyInstance {
    accounts: Accounts
    /** Counts wrong passwords, wherever they are tried. */
    loginThrottle: LoginThrottle
  }
}

/** Options of the plugin {@link accounts}. */
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

const BOOTSTRAP_RULES = { username: text(undefined), password: text(undefined) } satisfies Rules<Bootstrap>

/** What each option must be, and what holds without it. @internal */
export const ACCOUNT_RULES = {
  bootstrap: (given: unknown, option: string) => given !== false && readOptions(BOOTSTRAP_RULES, given, option),
  store: supplied<AccountStore>(),
  concurrency: wholeNumber(Math.min(availableParallelism(), 4)),
  queue: wholeNumber(200, 0),
  // Checked by what counts, which can be told others later.
  throttle: asGiven<ThrottleOptions>(),
} satisfies Rules<AccountsOptions>

/**
 * Accounts with passwords, as the reference server's login needs them. Sessions work without them.
 *
 * @throws at boot STATEFUL_INVALID_OPTION, STATEFUL_INVALID_DURATION, STATEFUL_STORAGE_UNAVAILABLE
 */
export const accounts = defineService<AccountsOptions>(
  'accounts',
  async (fastify, options) => {
    const { bootstrap, store, throttle: limits, ...hashing } = readOptions(ACCOUNT_RULES, options, 'accounts')
    // Large packages, which an import of this one should not load.
    const [{ LoginThrottle }] = await Promise.all([import('./login-throttle.ts'), loadArgon2()])
    const throttle = new LoginThrottle(fastify.storage, limits)
    const log = fastify.log.child({ plugin: 'accounts' })
    const engine = new Accounts(store ? suppliedStore(store) : accountStoreOn(fastify.storage), {
      ...hashing,
      onRestored: () =>
        log.error('the storage has lost all accounts; the administrator is there again, the others are not'),
    })
    if (bootstrap) {
      const { created } = await engine.bootstrap(bootstrap)
      // For an operator who changes ADMIN_PASSWORD later and expects it to be the new password.
      if (bootstrap.password !== undefined) log.info({ created }, created ? PASSWORD_SET : PASSWORD_UNUSED)
    }
    fastify.decorate('accounts', engine)
    fastify.decorate('loginThrottle', throttle)
  },
  { decorators: { fastify: ['storage'] } },
)

const PASSWORD_SET =
  'the first administrator was created with the password that was given (ADMIN_PASSWORD); from now on it is ignored'
const PASSWORD_UNUSED =
  'there are accounts: the password that was given for the first administrator (ADMIN_PASSWORD) is not used. docs/accounts.md says how to set a new one'

import type { AccountStore } from '../../plugins/accounts/account-store.ts'
import { accountStoreOn } from '../../plugins/accounts/stores/on-storage.ts'
import { placeOf } from '../../plugins/cache/tier/buckets.ts'
import { openJournal, openTier } from '../../plugins/cache/tier/open.ts'
import type { Journal } from '../../plugins/cache/write-behind/journal.ts'
import type { SessionStore } from '../../plugins/session/stores/contract.ts'
import { sessionStoreOn } from '../../plugins/session/stores/on-storage.ts'
import type { StateLog } from '../../plugins/state/log/contract.ts'
import { openStateLog, spacesOn } from '../../plugins/state/log/open.ts'
import { STATE_RULES } from '../../plugins/state/options.ts'
import { openStorage } from '../../plugins/storage/index.ts'
import type { Storage } from '../../plugins/storage/storage.ts'
import { systemClock } from '../../plugins/support/clock.ts'
import { InvalidConfigurationError } from '../../plugins/support/errors.ts'
import { readOptions } from '../../plugins/support/options.ts'
import { tokenStoreOn } from '../../plugins/tokens/stores/on-storage.ts'
import type { TokenStore } from '../../plugins/tokens/token-store.ts'

/** What an application keeps that must not be lost, wherever it is. */
export interface Stores {
  accounts: AccountStore
  tokens: TokenStore
  sessions: SessionStore
  spaces(): Promise<string[]>
  openLog(space: string): StateLog
  journal: Journal
  /** The bucket of a namespace that has the key. */
  bucketOf(namespace: string, key: string): string
  /** Before the storage is closed. */
  close(): Promise<void>
}

/** In milliseconds: a whole space in one answer takes Redis longer than a request of an application may. */
const PATIENCE = 60_000

/**
 * Opens a storage to read or write all of it.
 * @throws STATEFUL_INVALID_CONFIGURATION for `memory:`, and what opening a storage throws
 */
export async function openWhole(url: string): Promise<Storage> {
  if (url === 'memory:') {
    throw new InvalidConfigurationError(
      "STORAGE is 'memory:', which ends with the server's own process and which no other can read or fill. Spaces of the state can be moved between running servers, by GET /state/snapshot and POST /state/restore; accounts, access tokens, sessions and dead letters cannot",
    )
  }
  return openStorage({ url, redis: { commandTimeout: PATIENCE } })
}

/** Those of a storage, as the services have them with their default options. */
export async function storesOn(storage: Storage): Promise<Stores> {
  const tier = await openTier(storage, systemClock, { maxEntries: 1, maxBytes: 1 })
  const { history } = readOptions(STATE_RULES, {}, 'state')
  return {
    accounts: accountStoreOn(storage),
    tokens: tokenStoreOn(storage),
    sessions: sessionStoreOn(storage),
    spaces: () => spacesOn(storage),
    openLog: (space) => openStateLog(storage, space, history, { ack: 'primary', ackTimeout: 500, makes: false }),
    journal: await openJournal(storage, tier, systemClock),
    bucketOf(namespace, key) {
      const buckets = tier.buckets(namespace)
      return buckets[placeOf(key, buckets.length)] as string
    },
    close: () => tier.close(),
  }
}

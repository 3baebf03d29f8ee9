/**
 * The schemas of requests and answers, each under the name that it has in the documents (`User.$id` is `StatefulUser`),
 * for references from an application's own routes.
 */
export { useSchemas } from '../../plugins/support/schemas.ts'
export { NewUser, PasswordChange, Preferences, UserChange, UserList } from './account.ts'
export { AuditEntry, AuditTrail } from './audit.ts'
export { Credentials, Identity, LoginResult, PreferencesResult, Profile } from './auth.ts'
export {
  CacheEntries,
  CacheEntry,
  CacheInvalidated,
  CacheInvalidation,
  CacheNamespaces,
  CacheStats,
  CacheWarmed,
  CacheWarming,
  CacheWrite,
  CacheWriters,
  DeadLetterRetry,
  DeadLetters,
  DeadLettersRetried,
} from './cache.ts'
export { Live, Ready } from './health.ts'
export { Problem } from './problem.ts'
export { ProcessStats } from './process-stats.ts'
export { reference } from './responses.ts'
export { RevokedSessions, SessionInfo, SessionList, SessionStats } from './session.ts'
export {
  Commit,
  Op,
  StateChanges,
  StateEntry,
  StateIncrement,
  StateInfo,
  StateKeys,
  StateMerge,
  StateRestore,
  StateSnapshot,
  StateSpaces,
  StateStats,
  StateWrite,
} from './state.ts'
export { Health, InstanceStats, Stats, StatsHistory } from './stats.ts'
export { StorageStats } from './storage.ts'
export { SyncNode, SyncNodes, SyncStats, SyncWrite, SyncWritten } from './sync.ts'
export { CreatedToken, NewToken, Scope, TokenInfo, TokenList } from './token.ts'
export { User } from './user.ts'

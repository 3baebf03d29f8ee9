import type { RootDatabase } from 'lmdb'
import type { Backups } from './lmdb/backup.ts'
import type { Commits } from './lmdb/commits.ts'
import type { Problem } from './lmdb/problem.ts'
import type { Recovery } from './lmdb/recover.ts'
import type { RedisChannels } from './redis/channels.ts'
import type { RedisClient } from './redis/client.ts'

/** What every kind of storage answers. Stores narrow by `kind`; no other code looks inside. */
interface StorageBase {
  /** Unique for this process; names its messages, so that it can tell its own from others'. */
  readonly instanceId: string
  /** Resolves when the storage answers; rejects with STATEFUL_STORAGE_UNAVAILABLE within the deadline. */
  ping(): Promise<void>
  close(): Promise<void>
}

/** Lives and dies with the process: for tests and for state that may be lost. */
export interface MemoryStorage extends StorageBase {
  readonly kind: 'memory'
}

/** Embedded and durable: one folder, one owner process. */
export interface LmdbStorage extends StorageBase {
  readonly kind: 'lmdb'
  readonly directory: string
  /**
   * Open a named database with `root.openDB({ name })`. `await put()` means committed, `flushed` means on disk.
   *
   * @internal
   */
  readonly root: RootDatabase
  /**
   * Every change goes through it: it tells a full disk from a failed one, and lets deletions have the reserve.
   *
   * @internal
   */
  readonly commits: Commits
  /** The database was damaged; this is what the boot did about it. */
  readonly recovery?: Recovery
  /** Resolves when what the boot had no time for has been read; damage is told by `ping` and the log. */
  readonly checked: Promise<void>
  /** `await backups.make()` makes one now. */
  readonly backups: Backups
  /** For stores that come upon a broken record: from then on `ping` fails, and the next boot reads everything. */
  reportDamage(problem: Problem): void
}

/** Shared by several instances. Redis 7.0 or newer, or Valkey; one server, behind Sentinels, or a Cluster. */
export interface RedisStorage extends StorageBase {
  readonly kind: 'redis'
  /**
   * Commands: hardened with a deadline, no offline queue, no blind resend (see connection.ts).
   *
   * @internal
   */
  readonly client: RedisClient
  /**
   * Pub/sub, shared by all services.
   *
   * @internal
   */
  readonly channels: RedisChannels
  /** Stands before every key and channel of this application, `fs:` by default. */
  readonly prefix: string
}

export type Storage = MemoryStorage | LmdbStorage | RedisStorage

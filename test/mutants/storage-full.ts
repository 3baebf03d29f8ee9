import type { Mutant } from '../checkers/mutation.ts'

const redis = 'test/app/full-redis.test.ts'

export default [
  {
    guards: 'what a key holds is no outage',
    file: 'plugins/storage/redis/failure.ts',
    from: ' || isUnreadable(cause)',
    to: '',
    suite: 'test/plugins/storage/failures.test.ts',
  },
  {
    guards: 'the reserve of a full disk is for deletions',
    file: 'plugins/storage/lmdb/commits.ts',
    from: 'if (!(error instanceof StorageFullError)) throw error',
    to: 'if (error) throw error',
    suite: 'test/plugins/storage/full-disk.test.ts',
  },
  {
    guards: 'scripts that let go run when memory is full',
    file: 'plugins/storage/redis/script.ts',
    from: '#!lua flags=allow-oom',
    to: '#!lua',
    suite: redis,
  },
  {
    guards: 'scripts that write are refused as a whole when memory is full',
    file: 'plugins/storage/redis/script.ts',
    from: '=> `#!lua\\n',
    to: '=> `',
    suite: redis,
  },
  {
    guards: 'a store without room is not taken for one that is away',
    file: 'plugins/cache/tier/breaker.ts',
    from: 'if (isRefusal(error) || this.#sending > LARGE) return',
    to: 'if (this.#sending > LARGE) return',
    suite: redis,
  },
  {
    guards: 'what the source has replaced does not stay in the cache',
    file: 'plugins/cache/namespace.ts',
    from: 'if (error instanceof StorageFullError) await this.delete(key)',
    to: '',
    suite: redis,
  },
  {
    guards: 'counts of failed logins are read also when memory is full',
    file: 'plugins/storage/counts/redis.ts',
    from: "const read = RedisScript.fromFile(new URL('./read.lua', import.meta.url), evenWhenFull)",
    to: "const read = RedisScript.fromFile(new URL('./read.lua', import.meta.url), notWhenFull)",
    suite: 'test/plugins/storage/counts/counts.test.ts',
  },
  {
    guards: 'a use of a session is recorded when memory is full',
    file: 'plugins/session/stores/redis.ts',
    from: '? touchScript : saveScript',
    to: '? saveScript : saveScript',
    suite: redis,
  },
  {
    guards: 'no commit of LMDB begins where it may find no room',
    file: 'plugins/storage/lmdb/commits.ts',
    from: 'return !this.#reserve.lent && this.#room.take(bytes)',
    to: 'return !this.#reserve.lent',
    suite: 'test/plugins/storage/full-disk.test.ts',
  },
  {
    guards: 'no database of LMDB is made where it may find no room',
    file: 'plugins/storage/lmdb/checked-records.ts',
    from: 'if (found !== name) commits.demandRoom()',
    to: '',
    suite: 'test/plugins/storage/failures.test.ts',
  },
  {
    guards: 'nothing is salvaged where LMDB may find no room',
    file: 'plugins/storage/lmdb/salvage.ts',
    from: "if (!this.#room.take(bytes)) throw new StorageFullError('a salvage')",
    to: '',
    suite: 'test/plugins/storage/salvage.test.ts',
  },
  {
    guards: 'a deletion without room begins with the reserve',
    file: 'plugins/storage/lmdb/commits.ts',
    from: 'if (!this.#room.take(0)) return withReserve()',
    to: '',
    suite: 'test/plugins/storage/full-disk.test.ts',
  },
] satisfies Mutant[]

import type { Mutant } from '../checkers/mutation.ts'

const owner = 'test/plugins/storage/owner.test.ts'
const suite = 'test/plugins/storage/storage.test.ts'
const trouble = 'test/plugins/storage/trouble.test.ts'
const salvage = 'test/plugins/storage/salvage.test.ts'
const backup = 'test/plugins/storage/backup.test.ts'
const cluster = 'test/plugins/storage/cluster.test.ts'

export default [
  {
    guards: 'a dead owner does not keep the folder',
    file: 'plugins/storage/lmdb/owner.ts',
    from: 'const number = last + 1',
    to: 'const number = 1',
    suite: owner,
  },
  {
    guards: 'a password never gets into an error',
    file: 'plugins/storage/index.ts',
    from: "new UnknownStorageError(options.url.split(':')[0])",
    to: 'new UnknownStorageError(options.url)',
    suite,
  },
  {
    guards: 'a living owner keeps the folder',
    file: 'plugins/storage/lmdb/owner.ts',
    from: 'if (last > 0 && (await this.#answers(',
    to: 'if (last < 0 && (await this.#answers(',
    suite: owner,
  },
  {
    guards: 'a number from the past owns nothing',
    file: 'plugins/storage/lmdb/owner.ts',
    from: 'if (Math.max(...(await this.#numbers())) === number) return number',
    to: 'if (number > 0) return number',
    suite: owner,
  },
  {
    guards: 'the arguments of a refused command, AUTH above all, stay out of errors',
    file: 'plugins/storage/redis/connection.ts',
    from: '    error.command = { name }\n',
    to: '',
    suite: trouble,
  },
  {
    guards: 'a silent connection is given up',
    file: 'plugins/storage/redis/connection.ts',
    from: '    socketTimeout: 2 * (options.commandTimeout ?? DEFAULT_COMMAND_TIMEOUT),\n',
    to: '',
    suite: trouble,
  },
  {
    guards: 'the connection that only listens finds out that the other side is gone',
    file: 'plugins/storage/redis/channels.ts',
    from: "if (line.status === 'ready') line.ping().catch(() => {})",
    to: 'return',
    suite: trouble,
  },
  {
    guards: 'a frozen Redis leaves no socket behind',
    file: 'plugins/storage/redis/connection.ts',
    from: '    disconnectTimeout: DISCONNECT_TIMEOUT,\n',
    to: '',
    suite: trouble,
  },
  {
    guards: 'a subscription that failed leaves no listener behind',
    file: 'plugins/storage/redis/channels.ts',
    from: '      forget()\n      throw redisFailure(error)',
    to: '      throw redisFailure(error)',
    suite: trouble,
  },
  {
    guards: 'who must know is told that a slot has moved',
    file: 'plugins/storage/redis/servers.ts',
    from: 'if (now !== owners) listener()',
    to: '',
    suite: cluster,
  },
  {
    guards: 'a key is asked of the server that has it',
    file: 'plugins/storage/redis/servers.ts',
    from: ' === name)',
    to: ' !== name)',
    suite: cluster,
  },
  {
    guards: 'what cannot be read is no damage',
    file: 'plugins/storage/lmdb/recover.ts',
    from: 'throw cause instanceof StatefulError ? cause : unchecked(path, cause)',
    to: 'await rm(path, { recursive: true, force: true })\n    return { complete: true }',
    suite: salvage,
  },
  {
    guards: 'a flipped bit in a record is noticed',
    file: 'plugins/storage/lmdb/checked-records.ts',
    from: 'return record.readUInt32LE(0) === checksum(seed, key, payload) ? payload : undefined',
    to: 'return seed === checksum(seed, key, payload) ? undefined : payload',
    suite: salvage,
  },
  {
    guards: 'a page is read only where it belongs',
    file: 'plugins/storage/lmdb/file-format.ts',
    from: "if (uint(page, 0) !== number) throw new Malformed('holds another page')",
    to: '',
    suite: salvage,
  },
  {
    guards: 'leaves that nothing points to are kept',
    file: 'plugins/storage/lmdb/salvage.ts',
    from: 'if (snapshot.problems.length > 0) await takeLost',
    to: 'if (snapshot.problems.length < 0) await takeLost',
    suite: salvage,
  },
  {
    guards: 'a space that lost something begins a new history',
    file: 'plugins/state/log/lmdb.ts',
    from: 'repairSpaces(this.#database)',
    to: '',
    suite: salvage,
  },
  {
    guards: 'after damage was found in use, the next boot reads everything',
    file: 'plugins/storage/lmdb/recover.ts',
    from: 'const suspected = await exists(suspect)',
    to: 'const suspected = false',
    suite: salvage,
  },
  {
    guards: 'sessions never come from a backup',
    file: 'plugins/session/stores/lmdb.ts',
    from: '{ name: `sessions',
    to: '{ restorable: true, name: `sessions',
    suite: backup,
  },
  {
    guards: 'a backup counts only when it was found sound',
    file: 'plugins/storage/lmdb/backup.ts',
    from: 'if (report.damaged) {',
    to: 'if (report.records < 0) {',
    suite: backup,
  },
  {
    guards: 'a restart does not put the next backup off',
    file: 'plugins/storage/lmdb/backup.ts',
    from: 'Math.min(newest, now) + plan.every - now',
    to: 'plan.every',
    suite: backup,
  },
  {
    file: 'plugins/storage/lmdb/open.ts',
    from: '  await needSpareFiles(directory)\n',
    to: '',
    suite: 'test/plugins/storage/few-files.test.ts',
    guards: 'LMDB is not opened with too few files left',
  },
] satisfies Mutant[]

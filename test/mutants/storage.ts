import type { Mutant } from '../checkers/mutation.ts'

const suite = 'test/plugins/storage/storage.test.ts'
const trouble = 'test/plugins/storage/trouble.test.ts'
const cluster = 'test/plugins/storage/cluster.test.ts'

export default [
  {
    guards: 'a dead owner does not keep the folder',
    file: 'plugins/storage/lmdb/owner.ts',
    from: 'const number = last + 1',
    to: 'const number = 1',
    suite,
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
    from: 'if (last > 0 && (await answers(',
    to: 'if (last < 0 && (await answers(',
    suite: trouble,
  },
  {
    guards: 'a number from the past owns nothing',
    file: 'plugins/storage/lmdb/owner.ts',
    from: 'if (Math.max(...(await numbers(path))) === number) return number',
    to: 'if (number > 0) return number',
    suite: trouble,
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
    from: 'subscriber.ping().catch(() => {})',
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
    from: '      forget()\n      throw error',
    to: '      throw error',
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
] satisfies Mutant[]

import type { Mutant } from '../checkers/mutation.ts'

const suite = 'test/plugins/storage/storage.test.ts'
const trouble = 'test/plugins/storage/trouble.test.ts'

export default [
  {
    guards: 'a dead owner does not keep the folder',
    file: 'plugins/storage/lmdb/owner.ts',
    from: '    await removeDead(path)\n',
    to: '',
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
    guards: 'an owner whose name was moved aside still owns',
    file: 'plugins/storage/lmdb/owner.ts',
    from: 'if (await ownerAside(path, ino)) {',
    to: 'if (path === folder) {',
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
    guards: 'a subscription that ended while the connection was away does not stay',
    file: 'plugins/storage/redis/channels.ts',
    from: 'if (!subscriptions) this.#unsubscribe(channel)',
    to: '',
    suite: trouble,
  },
] satisfies Mutant[]

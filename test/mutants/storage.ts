import type { Mutant } from '../checkers/mutation.ts'

const suite = 'test/plugins/storage/storage.test.ts'

export default [
  {
    guards: 'of several claimants of a folder only one wins',
    file: 'plugins/storage/lmdb/owner.ts',
    from: 'if (attempts === 0 || (await answers(path))) throw new StorageOwnedError(folder)',
    to: 'if (attempts === 0) throw new StorageOwnedError(folder)',
    suite,
  },
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
] satisfies Mutant[]

import type { Mutant } from '../checkers/mutation.ts'

/** The guards of who may do what. Switching any one off must turn its suite red. */
export default [
  {
    file: 'plugins/security/authorize.ts',
    from: "return { space, prefix: textOr(prefix, '') }",
    to: "return (typeof prefix === 'string' ? { space, key: prefix } : { space }) as never",
    suite: 'test/routes/authorize.test.ts',
    guards: 'a prefix is no key, and a question names something',
  },
  {
    file: 'plugins/sync/connection/connection.ts',
    from: "if (data !== undefined) await this.identity.authorize('presence:write', { space })",
    to: '',
    suite: 'test/routes/authorize.test.ts',
    guards: 'to hear who is there is not to be seen there',
  },
] satisfies Mutant[]

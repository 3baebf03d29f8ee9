import type { Mutant } from '../checkers/mutation.ts'

const raw = 'test/plugins/problems/raw-http.test.ts'
const defaults = 'test/plugins/problems/default-errors.test.ts'
const secrets = 'test/plugins/support/secrets.test.ts'
const credentials = 'test/plugins/accounts/credentials.test.ts'

export default [
  {
    guards: 'a request while the server closes is refused',
    file: 'plugins/problems/connections.ts',
    from: '    if (closing) return done(new ClosingError())\n',
    to: '',
    suite: raw,
  },
  {
    guards: 'nothing is written into the middle of an answer',
    file: 'plugins/problems/server-options.ts',
    from: ' || isAnswering(socket)',
    to: '',
    suite: raw,
  },
  {
    guards: 'a request that dribbles is cut soon after its time',
    file: 'plugins/problems/server-options.ts',
    from: '    connectionsCheckingInterval: interval,\n',
    to: '',
    suite: raw,
  },
  {
    guards: 'no message of a server error gets out in an application without our handler',
    file: 'plugins/problems/default-errors.ts',
    from: '    done(null, text)',
    to: '    done(null, payload)',
    suite: defaults,
  },
  {
    guards: 'what the application answers by itself stays as it is',
    file: 'plugins/problems/default-errors.ts',
    from: '    if (!error) return done()\n    const problem = toProblem(error, request, answer.statusCode)',
    to: '    const problem = toProblem(error ?? (answer as never), request, answer.statusCode)',
    suite: defaults,
  },
  {
    guards: 'no placeholder is a secret in production',
    file: 'plugins/support/secrets.ts',
    from: '  return !production || unexpectedCharacters(text) >= MIN_UNEXPECTED',
    to: '  return true',
    suite: secrets,
  },
  {
    guards: 'a name has letters of one script',
    file: 'plugins/accounts/credentials.ts',
    from: "  if (!ONE_SCRIPT.test(name)) throw new InvalidUsernameError('mixes letters of several scripts')\n",
    to: '',
    suite: credentials,
  },
  {
    guards: 'what is too long in its normal form is refused',
    file: 'plugins/accounts/credentials.ts',
    from: 'if (lengthOf(normal) > MAX_PASSWORD_LENGTH)',
    to: 'if (lengthOf(password) > MAX_PASSWORD_LENGTH)',
    suite: credentials,
  },
] satisfies Mutant[]

import type { Mutant } from '../checkers/mutation.ts'

const guards = 'test/plugins/response-cache/guards.test.ts'
const keys = 'test/plugins/response-cache/keys.test.ts'
const answers = 'test/plugins/response-cache/answers.test.ts'

export default [
  {
    guards: 'the order: the cache stands after every guard',
    file: 'plugins/response-cache/index.ts',
    from: 'route.handler = cached(cache, settings, keyRule(settings, route), route.handler)',
    to: `const early = cached(cache, settings, keyRule(settings, route), async () => undefined)
      const before = async function (this: FastifyInstance, request: FastifyRequest, reply: FastifyReply) {
        return early.call(this, request, reply)
      }
      route.preHandler = [before, ...[route.preHandler ?? []].flat()]`,
    suite: guards,
  },
  {
    guards: 'credentials: an answer to somebody is not given to others',
    file: 'plugins/response-cache/key.ts',
    from: 'if (!rule.shared && isPersonal(request, rule.vary)) return undefined',
    to: '',
    suite: guards,
  },
  {
    guards: 'certificates of clients are credentials',
    file: 'plugins/response-cache/key.ts',
    from: 'return hasCertificate(socket as Partial<TLSSocket>)',
    to: 'return false',
    suite: guards,
  },
  {
    guards: 'the host in the key',
    file: 'plugins/response-cache/key.ts',
    from: 'const parts = [protocol, host, url,',
    to: 'const parts = [protocol, url,',
    suite: keys,
  },
  {
    guards: 'the query to the last character',
    file: 'plugins/response-cache/key.ts',
    from: 'host, url, originalUrl, rule.constraints',
    to: "host, [...new URLSearchParams(url.split('?')[1])], url.split('?')[0], rule.constraints",
    suite: keys,
  },
  {
    guards: 'Vary of the answer',
    file: 'plugins/response-cache/headers.ts',
    from: 'every((name) => named.includes(name) || around.has(name))',
    to: 'every(() => true)',
    suite: answers,
  },
  {
    guards: 'Vary of others is kept',
    file: 'plugins/response-cache/headers.ts',
    from: 'new Set([...there, ...names])',
    to: 'new Set([...names])',
    suite: answers,
  },
  {
    guards: 'what a shared cache on the way may keep',
    file: 'plugins/response-cache/index.ts',
    from: "isPersonal(request) ? 'private, no-cache' : ",
    to: '',
    suite: answers,
  },
  {
    guards: 'waiters are released when the socket is taken over',
    file: 'plugins/response-cache/index.ts',
    from: '    if (reply.sent) settle(request, undefined)\n    // Without a promise',
    to: '    // Without a promise',
    suite: answers,
    timeout: 90_000,
  },
] satisfies Mutant[]

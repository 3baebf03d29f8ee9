import type { Mutant } from '../checkers/mutation.ts'

const guards = 'test/plugins/response-cache/guards.test.ts'
const keys = 'test/plugins/response-cache/keys.test.ts'
const answers = 'test/plugins/response-cache/answers.test.ts'
const terms = 'test/plugins/response-cache/terms.test.ts'
const content = 'test/plugins/response-cache/content.test.ts'
const headers = 'test/plugins/response-cache/headers.test.ts'
const changes = 'test/plugins/response-cache/changes.test.ts'
const refusals = 'test/plugins/response-cache/refusals.test.ts'

export default [
  {
    guards: 'the order: the cache stands after every guard',
    file: 'plugins/response-cache/index.ts',
    from: 'route.handler = cachedHandler(answers, cached, route.handler)',
    to: `const early = cachedHandler(answers, cached, async () => undefined)
      const before = async function (this: FastifyInstance, request: FastifyRequest, reply: FastifyReply) {
        return early.call(this, request, reply)
      }
      route.preHandler = [before, ...[route.preHandler ?? []].flat()]`,
    suite: guards,
  },
  {
    guards: 'credentials: an answer to somebody is not given to others',
    file: 'plugins/response-cache/key.ts',
    from: 'if (!rule.shared && isPersonal(request, rule.vary)) return false',
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
    from: 'keyText(url, [protocol, host, url, originalUrl, signature])',
    to: 'keyText(url, [protocol, url, originalUrl, signature])',
    suite: keys,
  },
  {
    guards: 'the query to the last character',
    file: 'plugins/response-cache/key.ts',
    from: 'keyText(url, [protocol, host, url, originalUrl, signature])',
    to: "keyText(url, [protocol, host, [...new URLSearchParams(url.split('?')[1])], url.split('?')[0], signature])",
    suite: keys,
  },
  {
    guards: 'Vary of the answer',
    file: 'plugins/response-cache/answers.ts',
    from: 'const vary = [...new Set([...names, ...answer.vary])].sort()',
    to: 'const vary = [...names]',
    suite: answers,
  },
  {
    guards: 'an answer that depends on everything is never stored',
    file: 'plugins/response-cache/answer.ts',
    from: "vary.includes('*') || ",
    to: '',
    suite: answers,
  },
  {
    guards: 'Vary of others is kept',
    file: 'plugins/response-cache/headers.ts',
    from: "there.size === 0 ? added.join(', ') : ",
    to: "true ? added.join(', ') : ",
    suite: answers,
  },
  {
    guards: 'what a shared cache on the way may keep',
    file: 'plugins/response-cache/delivery.ts',
    from: "personal ? 'private, no-cache' : 'no-cache'",
    to: "'no-cache'",
    suite: answers,
  },
  {
    guards: 'waiters are released when the socket is taken over',
    file: 'plugins/response-cache/exchange.ts',
    from: '    fill.settle(undefined)\n    return hijack',
    to: '    return hijack',
    suite: answers,
    timeout: 90_000,
  },
  {
    guards: 'refusals: credentials, among ten thousand requests',
    file: 'plugins/response-cache/key.ts',
    from: 'if (!rule.shared && isPersonal(request, rule.vary)) return false',
    to: '',
    suite: refusals,
    timeout: 150_000,
  },
  {
    guards: 'refusals: a credential that the route names is told apart',
    file: 'plugins/response-cache/key.ts',
    from: 'const values = names.map((name) => [name, request.headers[name] ?? null])',
    to: 'const values = names.map((name) => [name, name in request.headers])',
    suite: refusals,
    timeout: 150_000,
  },
  {
    guards: 'a strong tag names one encoding',
    file: 'plugins/response-cache/delivery.ts',
    from: "if (isEncoded({ 'content-encoding': head.get('content-encoding') })) ",
    to: 'if (false) ',
    suite: content,
  },
  {
    guards: 'a 304 does not make a weak tag strong',
    file: 'plugins/response-cache/delivery.ts',
    from: "if (etag !== undefined) reply.header('etag', tagFor(conditions, etag))",
    to: '',
    suite: content,
  },
  {
    guards: 'what must be confirmed is never served stale',
    file: 'plugins/response-cache/freshness.ts',
    from: "const strict = forbidden || directives.has('s-maxage')",
    to: 'const strict = false',
    suite: terms,
  },
  {
    guards: 'cookies are nobody else’s',
    file: 'plugins/response-cache/answer.ts',
    from: "return name !== '' && !personal && value.length <= IMPERSONAL_COOKIE",
    to: "return name !== ''",
    suite: headers,
  },
  {
    guards: 'headers that a hook has set are of one request',
    file: 'plugins/response-cache/headers.ts',
    from: 'if (named.has(name) || hooked.has(name)) continue',
    to: 'if (named.has(name)) continue',
    suite: headers,
  },
  {
    guards: 'a success of an unsafe method ends what is kept',
    file: 'plugins/response-cache/index.ts',
    from: 'if (keys.length > 0) await cache.delete(keys)',
    to: '',
    suite: changes,
  },
  {
    guards: 'an answer that a change has overtaken is not found under its variants',
    file: 'plugins/response-cache/key.ts',
    from: 'keyText(request.url, [nonce, ',
    to: 'keyText(request.url, [',
    suite: changes,
  },
  {
    guards: 'errors do not take the place of an answer that may stand in',
    file: 'plugins/response-cache/conclusion.ts',
    from: '(failed || reply.statusCode >= 500) && mayStandIn(stored, this.#now)',
    to: 'failed && mayStandIn(stored, this.#now)',
    suite: terms,
  },
] satisfies Mutant[]

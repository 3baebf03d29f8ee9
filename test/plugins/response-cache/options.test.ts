import type { FastifyInstance } from 'fastify'
import t from 'tap'
import type { RouteCache } from '../../../plugins/response-cache/index.ts'
import { timed } from './fixture.ts'

t.test('a wrong option ends the boot, and says which', async (t) => {
  for (const [options, route, message] of [
    [{ maxBytes: 0 }, {}, /responseCache\.maxBytes/],
    [{ name: 'ü' }, {}, /responseCache\.name/],
    [{ browser: 'soon' }, {}, /responseCache\.browser/],
    [{ cdn: { maxAge: '1m', swr: 1 } }, {}, /responseCache\.cdn\.swr/],
    [{}, { ttl: 'header' }, /config\.cache\.ttl/],
    [{}, { ttl: '1m', browser: { maxAge: -1 } }, /config\.cache\.browser\.maxAge/],
    [{}, { ttl: '1m', staleIfError: 'x' }, /config\.cache\.staleIfError/],
    [{}, { ttl: '1m', query: 'q' }, /config\.cache\.query/],
  ] as const) {
    await t.rejects(
      timed(t, (app) => app.get('/', { config: { cache: route as RouteCache } }, async () => 'x'), options as object),
      { message },
      `${message}`,
    )
  }
})

t.test('a query lasts to the last character; which there may be, the route says', async (t) => {
  const ask = async (app: FastifyInstance, url: string) => (await app.inject(url)).body
  for (const [cache, cached] of [
    [{ ttl: '1m' }, false],
    [{ ttl: '1m', query: ['a'] }, true],
    [{ ttl: 'headers' }, true],
    [{ ttl: 'headers', query: ['b'] }, false],
  ] as const) {
    let calls = 0
    const { app } = await timed(t, (app) =>
      app.get('/', { config: { cache: cache as RouteCache } }, async (_request, reply) => {
        reply.header('cache-control', 'max-age=60')
        return `${++calls}`
      }),
    )
    const first = await ask(app, '/?a=1')
    t.equal((await ask(app, '/?a=1')) === first, cached, JSON.stringify(cache))
    t.not(await ask(app, '/?a=1&a=1'), first)
    t.not(await ask(app, '/?a=%31'), first)
  }
})

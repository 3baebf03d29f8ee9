import type { IncomingMessage, ServerResponse } from 'node:http'
import fastifyExpress from '@fastify/express'
import middie from '@fastify/middie'
import type { FastifyInstance } from 'fastify'
import t from 'tap'
import { HttpClient } from '../fixtures/http-client.ts'
import { neighbourApp, valuesOf } from './neighbour-app.ts'

type Next = (error?: unknown) => void

async function withMiddleware(app: FastifyInstance, plugin: unknown) {
  await app.register(plugin as never)
  const { use } = app as never as { use(...args: unknown[]): void }
  use.call(app, (_request: IncomingMessage, response: ServerResponse, next: Next) => {
    response.setHeader('x-middleware', '1')
    next()
  })
  use.call(app, '/legacy', (_request: IncomingMessage, response: ServerResponse) => response.end('legacy'))
  use.call(app, '/broken', (_request: IncomingMessage, _response: ServerResponse, next: Next) =>
    next(new Error('middleware')),
  )
}

const plugins = { '@fastify/express': fastifyExpress, '@fastify/middie': middie }
for (const [name, plugin] of Object.entries(plugins)) {
  for (const order of ['before', 'after'] as const) {
    t.test(`${name}, registered ${order} the sessions`, async (t) => {
      const app = await neighbourApp(t, {
        ...(order === 'before' ? { before: (app: FastifyInstance) => withMiddleware(app, plugin) } : {}),
        after: async (app) => {
          if (order === 'after') await withMiddleware(app, plugin)
          app.post('/in', async (request) => request.login({ id: 'ada' }))
          app.get('/', async (request) => {
            const values = valuesOf(request)
            values['visits'] = Number(values['visits'] ?? 0) + 1
            return { user: request.session.user?.id ?? null, visits: values['visits'] }
          })
        },
      })
      const browser = new HttpClient(await app.listen({ port: 0, host: '127.0.0.1' }))
      await browser.post('/in')
      t.match(browser.cookie, /^sid=/)
      t.same((await browser.get('/')).body, { user: 'ada', visits: 1 })
      t.equal((await browser.get('/legacy')).body, 'legacy', 'a middleware that answers by itself')
      t.equal((await browser.get('/broken')).status, 500, 'and one that fails')
      const answer = await browser.get('/')
      t.same(answer.body, { user: 'ada', visits: 2 })
      t.equal(answer.headers.get('x-middleware'), '1')
    })
  }
}

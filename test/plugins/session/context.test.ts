import { AsyncLocalStorage } from 'node:async_hooks'
import Fastify from 'fastify'
import t from 'tap'
import { session } from '../../../plugins/session/index.ts'
import { storage } from '../../../plugins/storage/index.ts'
import { HttpBrowser } from '../../fixtures/http-browser.ts'
import { SECRET } from '../../fixtures/session-app.ts'
import { onEveryStorage, storageUrl } from '../../fixtures/storages.ts'

const BROWSERS = 20

t.test('requests whose sessions are read together keep their own contexts (AsyncLocalStorage)', (t) =>
  onEveryStorage(t, async (t, kind) => {
    const app = Fastify()
    t.teardown(() => app.close())
    const context = new AsyncLocalStorage<string>()
    app.addHook('onRequest', (request, _reply, done) => context.run(request.id, done))
    await app.register(storage, { storage: await storageUrl(t, kind) })
    await app.register(session, { secret: SECRET, production: false })
    app.get('/begin', async (request) => {
      request.session.set('a', 1)
      return {}
    })
    app.get('/read', async (request) => ({
      session: request.session.get('a'),
      own: context.getStore() === request.id,
    }))
    const url = await app.listen({ host: '127.0.0.1', port: 0 })
    const browsers = Array.from({ length: BROWSERS }, () => new HttpBrowser())
    await Promise.all(browsers.map((browser) => browser.get(`${url}/begin`)))
    for (let round = 0; round < 3; round++) {
      const answers = await Promise.all(browsers.map((browser) => browser.get(`${url}/read`)))
      t.same(
        answers.map((answer) => answer.json()),
        Array(BROWSERS).fill({ session: 1, own: true }),
      )
    }
  }),
)

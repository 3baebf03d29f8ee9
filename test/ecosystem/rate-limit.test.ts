import rateLimit from '@fastify/rate-limit'
import t from 'tap'
import { Browser } from '../fixtures/session-app.ts'
import { neighbourApp } from './neighbour-app.ts'

t.test('@fastify/rate-limit: so many requests for each user, and for each address before the login', async (t) => {
  const app = await neighbourApp(t, {
    after: async (app) => {
      await app.register(rateLimit, {
        max: 3,
        timeWindow: 60_000,
        keyGenerator: (request) => request.session.user?.id ?? request.ip,
      })
      app.post('/in/:id', { config: { rateLimit: false } }, async (request) =>
        request.login({ id: (request.params as { id: string }).id }),
      )
      app.get('/', async () => 'ok')
    },
  })
  const statuses = async (browser: Browser) => {
    const list: number[] = []
    for (let n = 0; n < 4; n++) list.push((await browser.get('/')).statusCode)
    return list
  }
  const limited = [200, 200, 200, 429]
  const [laptop, phone, grace] = [new Browser(app), new Browser(app), new Browser(app)]
  t.same(await statuses(new Browser(app)), limited, 'by address')
  await laptop.post('/in/ada')
  await phone.post('/in/ada')
  await grace.post('/in/grace')
  t.same(await statuses(laptop), limited, 'by user')
  t.equal((await phone.get('/')).statusCode, 429, 'on each of their devices')
  t.same(await statuses(grace), limited, 'and another user has a count of their own')
  t.match(await app.sessions.list('ada'), [{ handle: String }, { handle: String }], 'a refused request ends nothing')
})

import csrf from '@fastify/csrf-protection'
import flash from '@fastify/flash'
import t from 'tap'
import { Browser } from '../fixtures/session-app.ts'
import { onEveryStorage, storageUrl } from '../fixtures/storages.ts'
import { neighbourApp } from './neighbour-app.ts'

t.test('@fastify/csrf-protection', (t) =>
  onEveryStorage(t, async (t, kind) => {
    const app = await neighbourApp(t, {
      storage: await storageUrl(t, kind),
      after: async (app) => {
        await app.register(csrf, { sessionPlugin: '@fastify/session' })
        app.get('/login', async (_request, reply) => ({ token: reply.generateCsrf() }))
        app.post('/login', { preValidation: app.csrfProtection }, async (request) => {
          await request.login({ id: 'ada' })
          return 'in'
        })
        app.post('/transfer', { preValidation: app.csrfProtection }, async () => 'done')
      },
    })
    const browser = new Browser(app)
    const tokenOf = async () => (await browser.get('/login')).json().token as string
    const post = (url: string, token?: string) =>
      browser.inject({ method: 'POST', url, headers: token === undefined ? {} : { 'csrf-token': token } })

    t.match(await post('/login'), { statusCode: 403 }, 'without a session')
    const token = await tokenOf()
    t.match(await post('/login'), { statusCode: 403 }, 'without a token')
    t.match(await post('/login', `${token}x`), { statusCode: 403 }, 'with a wrong one')
    t.match(await post('/login', token), { statusCode: 200 })
    t.match(
      await post('/transfer', token),
      { statusCode: 200 },
      'the secret is kept by the login of an anonymous session',
    )
    const stranger = new Browser(app)
    const theirs = (await stranger.get('/login')).json().token as string
    t.match(await post('/transfer', theirs), { statusCode: 403 }, 'the token of another session')

    await app.sessions.revokeUser('ada')
    const fresh = await tokenOf()
    t.match(await post('/transfer', token), { statusCode: 403 }, 'the token of an ended session')
    t.match(await post('/login', fresh), { statusCode: 200 }, 'whoever was logged out elsewhere logs in again')
  }),
)

t.test('@fastify/csrf-protection with tokens of a user', async (t) => {
  const app = await neighbourApp(t, {
    after: async (app) => {
      await app.register(csrf, {
        sessionPlugin: '@fastify/session',
        getUserInfo: (request) => request.session.user?.id ?? 'nobody',
        csrfOpts: { hmacKey: 'a key of the tests' },
      })
      app.post<{ Params: { id: string } }>('/in/:id', async (request, reply) => {
        await request.login({ id: request.params.id }, { keep: true })
        return { token: reply.generateCsrf({ userInfo: request.params.id }) }
      })
      app.post('/transfer', { preHandler: app.csrfProtection }, async () => 'done')
    },
  })
  const browser = new Browser(app)
  const adas = (await browser.post('/in/ada')).json().token as string
  const post = (token: string) => browser.inject({ method: 'POST', url: '/transfer', headers: { 'csrf-token': token } })
  t.match(await post(adas), { statusCode: 200 })
  const graces = (await browser.post('/in/grace')).json().token as string
  t.match(await post(adas), { statusCode: 403 }, 'the token is of who was there before')
  t.match(await post(graces), { statusCode: 200 })
})

t.test('@fastify/flash', (t) =>
  onEveryStorage(t, async (t, kind) => {
    const app = await neighbourApp(t, {
      storage: await storageUrl(t, kind),
      after: async (app) => {
        await app.register(flash)
        app.setErrorHandler((_error, request, reply) => {
          request.flash('error', 'it failed')
          reply.redirect('/messages')
        })
        app.get('/messages', async (_request, reply) => reply.flash())
        app.post('/ok', async (request, reply) => {
          request.flash('info', ['saved', 'and sent'])
          return reply.redirect('/messages')
        })
        app.post('/fails', async (request) => {
          request.flash('info', 'never seen')
          throw new Error('no')
        })
      },
    })
    const browser = new Browser(app)
    await browser.post('/ok')
    t.same((await browser.get('/messages')).json(), { info: ['saved', 'and sent'] })
    t.same((await browser.get('/messages')).json(), {}, 'a message is told once')
    await browser.post('/fails')
    t.same((await browser.get('/messages')).json(), { error: ['it failed'] }, 'what an error handler tells is kept')
  }),
)

import oauth2, { type OAuth2Namespace } from '@fastify/oauth2'
import Fastify, { type FastifyInstance, type FastifyRequest } from 'fastify'
import t, { type Test } from 'tap'
import { HttpClient } from '../fixtures/http-client.ts'
import { neighbourApp, valuesOf } from './neighbour-app.ts'

type WithProvider = FastifyInstance & { provider: OAuth2Namespace }

/** A provider that lets everybody in as `ada`, once for each code. */
async function startProvider(t: Test): Promise<string> {
  const provider = Fastify({ forceCloseConnections: true })
  t.teardown(() => provider.close())
  const codes = new Set<string>()
  provider.addContentTypeParser('application/x-www-form-urlencoded', { parseAs: 'string' }, (_request, body, done) =>
    done(null, Object.fromEntries(new URLSearchParams(body as string))),
  )
  provider.get<{ Querystring: { state: string; redirect_uri: string } }>('/authorize', async (request, reply) => {
    const code = `code-${codes.size}`
    codes.add(code)
    const { state, redirect_uri } = request.query
    return reply.redirect(`${redirect_uri}?${new URLSearchParams({ code, state })}`)
  })
  provider.post<{ Body: { code: string } }>('/token', async (request, reply) => {
    if (!codes.delete(request.body.code)) return reply.code(400).send({ error: 'invalid_grant' })
    return { access_token: 'of ada', token_type: 'Bearer', expires_in: 3600 }
  })
  return provider.listen({ port: 0, host: '127.0.0.1' })
}

t.test('@fastify/oauth2: a login by a provider, its state in a cookie or in the session', async (t) => {
  const host = await startProvider(t)
  for (const where of ['cookie', 'session'] as const) {
    await t.test(where, async (t) => {
      const app = await neighbourApp(t, {
        after: async (app) => {
          await app.register(oauth2, {
            name: 'provider',
            credentials: {
              client: { id: 'the app', secret: 'a secret' },
              auth: { authorizeHost: host, authorizePath: '/authorize', tokenHost: host, tokenPath: '/token' },
            },
            startRedirectPath: '/login',
            callbackUri: (request) => `http://${request.host}/back`,
            ...(where === 'cookie'
              ? {}
              : {
                  generateStateFunction: (request) => {
                    valuesOf(request)['state'] = 'of this session'
                    return 'of this session'
                  },
                  checkStateFunction: ((request: FastifyRequest, callback: (error?: Error) => void) => {
                    const { state } = request.query as { state?: string }
                    const kept = valuesOf(request)['state']
                    callback(kept !== undefined && state === kept ? undefined : new Error('Invalid state'))
                  }) as never,
                }),
          })
          app.get('/back', async (request, reply) => {
            const { token } = await (app as WithProvider).provider.getAccessTokenFromAuthorizationCodeFlow(request)
            await request.login({ id: token.access_token === 'of ada' ? 'ada' : 'nobody' })
            return reply.redirect('/me')
          })
          app.get('/me', async ({ session }) => ({ user: session.user?.id ?? null }))
        },
      })
      const url = await app.listen({ port: 0, host: '127.0.0.1' })
      const browser = new HttpClient(url)
      const begun = await browser.get('/login')
      t.match(begun.headers.get('location'), /\/authorize\?.*state=/)
      const granted = await fetch(begun.headers.get('location') as string, { redirect: 'manual' })
      const back = new URL(granted.headers.get('location') as string)
      const path = back.pathname + back.search

      const stranger = new HttpClient(url)
      t.equal((await stranger.get(path)).status, 500, 'the answer to another browser’s login')
      t.same((await stranger.get('/me')).body, { user: null })

      t.match(await browser.get(path), { status: 302 })
      t.same((await browser.get('/me')).body, { user: 'ada' })
      t.match(await app.sessions.list('ada'), [{ handle: String }])
    })
  }
})

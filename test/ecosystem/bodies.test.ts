import formbody from '@fastify/formbody'
import multipart from '@fastify/multipart'
import t from 'tap'
import { Browser } from '../fixtures/session-app.ts'
import { neighbourApp, valuesOf } from './neighbour-app.ts'

const BOUNDARY = 'the-boundary'
const upload = (name: string, content: string) => ({
  headers: { 'content-type': `multipart/form-data; boundary=${BOUNDARY}` },
  payload: [
    `--${BOUNDARY}`,
    'content-disposition: form-data; name="title"',
    '',
    'a title',
    `--${BOUNDARY}`,
    `content-disposition: form-data; name="file"; filename="${name}"`,
    'content-type: text/plain',
    '',
    content,
    `--${BOUNDARY}--`,
    '',
  ].join('\r\n'),
})

t.test('@fastify/multipart: files of whoever is logged in', async (t) => {
  const app = await neighbourApp(t, {
    after: async (app) => {
      await app.register(multipart, { limits: { fileSize: 1_000 } })
      app.post('/in', async (request) => request.login({ id: 'ada' }))
      app.post('/files', async (request) => {
        const values = valuesOf(request)
        for await (const part of request.parts()) {
          // The session is changed while the body is read.
          if (part.type === 'file') values['size'] = (await part.toBuffer()).length
          else values[part.fieldname] = part.value
        }
        return { user: request.session.user?.id, title: values['title'], size: values['size'] }
      })
      app.get('/files', async (request) => ({ title: valuesOf(request)['title'], size: valuesOf(request)['size'] }))
    },
  })
  const browser = new Browser(app)
  await browser.post('/in')
  const sent = await browser.inject({ method: 'POST', url: '/files', ...upload('a.txt', 'four') })
  t.same(sent.json(), { user: 'ada', title: 'a title', size: 4 })
  t.same((await browser.get('/files')).json(), { title: 'a title', size: 4 })

  const large = await browser.inject({ method: 'POST', url: '/files', ...upload('b.txt', 'x'.repeat(2_000)) })
  t.equal(large.statusCode, 413)
  t.same((await browser.get('/files')).json(), { title: 'a title', size: 4 }, 'a refused upload changes nothing')
})

t.test('@fastify/formbody: a login form', async (t) => {
  const app = await neighbourApp(t, {
    after: async (app) => {
      await app.register(formbody)
      app.post<{ Body: { user: string } }>('/in', async (request, reply) => {
        await request.login({ id: request.body.user })
        reply.redirect('/me', 303)
      })
      app.get('/me', async ({ session }) => ({ user: session.user?.id ?? null }))
    },
  })
  const browser = new Browser(app)
  const answer = await browser.inject({
    method: 'POST',
    url: '/in',
    headers: { 'content-type': 'application/x-www-form-urlencoded' },
    payload: 'user=ada',
  })
  t.match(answer, { statusCode: 303, headers: { location: '/me' } })
  t.same((await browser.get('/me')).json(), { user: 'ada' })
})

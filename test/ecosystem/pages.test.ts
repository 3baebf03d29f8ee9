import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import fastifyStatic from '@fastify/static'
import view from '@fastify/view'
import { Eta } from 'eta'
import t from 'tap'
import { Browser } from '../fixtures/session-app.ts'
import { temporaryFolder } from '../fixtures/storages.ts'
import { neighbourApp, valuesOf } from './neighbour-app.ts'

t.test('@fastify/static: files behind a login, conditional and partial requests', async (t) => {
  const root = await temporaryFolder(t)
  await mkdir(join(root, 'private'))
  await writeFile(join(root, 'private', 'page.txt'), '0123456789')
  const app = await neighbourApp(t, {
    after: async (app) => {
      app.addHook('onRequest', async (request, reply) => {
        if (request.url.startsWith('/private') && !request.session.user) return reply.code(401).send('no')
        valuesOf(request)['seen'] = Number(valuesOf(request)['seen'] ?? 0) + 1
      })
      await app.register(fastifyStatic, { root })
      app.post('/in', async (request) => request.login({ id: 'ada' }))
      app.get('/seen', async (request) => ({ seen: valuesOf(request)['seen'] }))
      app.get('/download', (_request, reply) => reply.download('private/page.txt', 'page.txt'))
    },
  })
  const browser = new Browser(app)
  t.equal((await browser.get('/private/page.txt')).statusCode, 401)
  await browser.post('/in')
  const page = await browser.get('/private/page.txt')
  t.equal(page.body, '0123456789')
  const conditional = await browser.inject({
    url: '/private/page.txt',
    headers: { 'if-none-match': String(page.headers['etag']) },
  })
  t.match(conditional, { statusCode: 304, body: '' })
  const partial = await browser.inject({ url: '/private/page.txt', headers: { range: 'bytes=2-4' } })
  t.match(partial, { statusCode: 206, body: '234' })
  const head = await browser.inject({ method: 'HEAD', url: '/private/page.txt' })
  t.match(head, { statusCode: 200, body: '', headers: { 'content-length': '10' } })
  t.match((await browser.get('/download')).headers['content-disposition'], /page\.txt/)
  t.equal((await browser.get('/private/none.txt')).statusCode, 404)
  t.same((await browser.get('/seen')).json(), { seen: 8 }, 'each of them counted, whatever was answered')
})

t.test('@fastify/view: templates that see the session', async (t) => {
  const templates = await temporaryFolder(t)
  await writeFile(join(templates, 'page.eta'), 'Hello, <%= it.user %>: <%= it.visits %>')
  const app = await neighbourApp(t, {
    after: async (app) => {
      await app.register(view, { engine: { eta: new Eta({ views: templates }) }, root: templates })
      app.addHook('preHandler', async (request, reply) => {
        ;(reply as { locals?: object }).locals = { user: request.session.user?.id ?? 'stranger' }
      })
      app.post('/in', async (request) => request.login({ id: 'ada' }))
      app.get('/', async (request, reply) => {
        const values = valuesOf(request)
        values['visits'] = Number(values['visits'] ?? 0) + 1
        return reply.viewAsync('page.eta', { visits: values['visits'] })
      })
      app.get('/sent', (request, reply) => {
        valuesOf(request)['visits'] = 10
        return reply.view('page.eta', { visits: 10 })
      })
      app.get('/broken', (request, reply) => {
        valuesOf(request)['visits'] = 99
        return reply.view('none.eta')
      })
    },
  })
  const browser = new Browser(app)
  t.equal((await browser.get('/')).body, 'Hello, stranger: 1')
  await browser.post('/in')
  t.equal((await browser.get('/')).body, 'Hello, ada: 2')
  t.equal((await browser.get('/sent')).body, 'Hello, ada: 10')
  t.equal((await browser.get('/broken')).statusCode, 500)
  t.equal((await browser.get('/')).body, 'Hello, ada: 11', 'what led to a page that cannot be made is not kept')
})

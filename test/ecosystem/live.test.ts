import { once } from 'node:events'
import { connect } from 'node:http2'
import sse from '@fastify/sse'
import websocket from '@fastify/websocket'
import Fastify, { type FastifyRequest } from 'fastify'
import t from 'tap'
import { WebSocket } from 'ws'
import { session } from '../../plugins/session/index.ts'
import { ManualClock } from '../../plugins/support/manual-clock.ts'
import { HttpClient } from '../fixtures/http-client.ts'
import { SECRET } from '../fixtures/session-app.ts'
import { onEveryStorage, storageUrl } from '../fixtures/storages.ts'
import { neighbourApp, valuesOf } from './neighbour-app.ts'

t.test('@fastify/websocket: the session of a socket, read, written and kept alive over it', (t) =>
  onEveryStorage(t, async (t, kind) => {
    const clock = new ManualClock()
    const app = await neighbourApp(t, {
      storage: await storageUrl(t, kind),
      session: { clock, idle: '30m' },
      after: async (app) => {
        await app.register(websocket)
        app.post('/in', async (request) => request.login({ id: 'ada' }))
        app.get('/me', async (request) => ({
          user: request.session.user?.id ?? null,
          said: valuesOf(request)['said'] ?? null,
        }))
        app.get('/socket', { websocket: true }, (socket: WebSocket, request: FastifyRequest) => {
          socket.on('message', async (message) => {
            valuesOf(request)['said'] = String(message)
            request.session.touch()
            await request.session.save().then(
              () => socket.send(`saved for ${request.session.user?.id}`),
              (error: { code: string }) => socket.send(error.code),
            )
          })
        })
      },
    })
    const url = await app.listen({ port: 0, host: '127.0.0.1' })
    const browser = new HttpClient(url)
    await browser.post('/in')
    const socket = new WebSocket(`${url.replace('http', 'ws')}/socket`, { headers: { cookie: browser.cookie } })
    await once(socket, 'open')
    const say = async (text: string) => {
      socket.send(text)
      return String((await once(socket, 'message'))[0])
    }
    for (let minutes = 0; minutes < 100; minutes += 20) {
      t.equal(await say(`after ${minutes}`), 'saved for ada')
      clock.advance(20 * 60_000)
    }
    t.same((await browser.get('/me')).body, { user: 'ada', said: 'after 80' }, 'use over a socket counts')
    await app.sessions.revokeUser('ada')
    t.equal(await say('hello?'), 'STATEFUL_SESSION_REVOKED', 'what ended is not written to')
    const closed = once(socket, 'close')
    socket.close()
    await closed
  }),
)

t.test('@fastify/sse: a stream of events to whoever is logged in', async (t) => {
  const app = await neighbourApp(t, {
    after: async (app) => {
      await app.register(sse as never)
      app.post('/in', async (request) => request.login({ id: 'ada' }))
      app.get('/me', async (request) => ({ streams: valuesOf(request)['streams'] ?? 0 }))
      app.get('/events', { sse: true } as object, async (request, reply) => {
        if (!request.session.user) return reply.code(401).send('no')
        valuesOf(request)['streams'] = Number(valuesOf(request)['streams'] ?? 0) + 1
        // The head is on its way with the first event: what is to be kept is saved before.
        await request.session.save()
        const { send } = (reply as never as { sse: { send(event: object): Promise<void> } }).sse
        for (const n of [1, 2, 3]) {
          await send.call((reply as never as { sse: object }).sse, { data: `${request.session.user.id} ${n}` })
        }
        return undefined
      })
      app.get('/plain-events', async (request, reply) => {
        valuesOf(request)['streams'] = 10
        await request.session.save()
        reply.hijack()
        reply.raw.writeHead(200, { 'content-type': 'text/event-stream' })
        reply.raw.end(`data: ${request.session.user?.id}\n\n`)
      })
    },
  })
  const url = await app.listen({ port: 0, host: '127.0.0.1' })
  const browser = new HttpClient(url)
  const accept = { accept: 'text/event-stream' }
  t.equal((await browser.get('/events', accept)).status, 401)
  await browser.post('/in')
  t.match((await browser.get('/events', accept)).body, /data: "?ada 1"?\n\ndata: "?ada 2"?\n\ndata: "?ada 3"?\n\n/)
  t.same((await browser.get('/me')).body, { streams: 1 })
  t.equal((await browser.get('/plain-events')).body, 'data: ada\n\n')
  t.same((await browser.get('/me')).body, { streams: 10 })
})

t.test('HTTP/2', async (t) => {
  const app = Fastify({ http2: true })
  t.teardown(() => app.close())
  await app.register(session, { secret: SECRET, production: false })
  app.post('/in', async (request) => {
    await request.login({ id: 'ada' })
    return 'in'
  })
  app.get('/me', async ({ session }) => ({ user: session.user?.id ?? null }))
  app.get('/header', async (request, reply) => {
    valuesOf(request as never)['seen'] = true
    return reply.header('bad name', 'x').send('x')
  })
  app.get('/cookie', async (request) => {
    valuesOf(request as never)['seen'] = true
    ;(request.session.cookie as { domain?: string }).domain = 'a b'
    return 'x'
  })
  const url = await app.listen({ port: 0, host: '127.0.0.1' })
  const client = connect(url)
  t.teardown(() => client.destroy())
  const ask = async (method: string, path: string, cookies: string[] = []) => {
    // A browser sends each cookie as a header of its own (RFC 9113, 8.2.3).
    const stream = client.request({
      ':method': method,
      ':path': path,
      ...(cookies.length > 0 ? { cookie: cookies } : {}),
    })
    stream.end()
    let text = ''
    stream.setEncoding('utf8').on('data', (part) => {
      text += part
    })
    const [headers] = (await once(stream, 'response')) as [Record<string, unknown>]
    if (!stream.readableEnded) await once(stream, 'end')
    return { status: headers[':status'], cookies: headers['set-cookie'] as string[] | undefined, text }
  }
  const login = await ask('POST', '/in')
  t.match(login, { status: 200, cookies: [/^sid=/], text: 'in' })
  const cookie = (login.cookies?.[0] ?? '').split(';')[0] as string
  t.match(await ask('GET', '/me', ['theme=dark', cookie, 'sid=tossed']), { status: 200, text: '{"user":"ada"}' })
  t.match(await ask('GET', '/me'), { text: '{"user":null}' })
  t.match(await ask('GET', '/header', [cookie]), { status: 500 })
  t.match(await ask('GET', '/cookie', [cookie]), { status: 500 })
  t.match(await ask('GET', '/me', [cookie]), { text: '{"user":"ada"}' }, 'and the connection lives')
})

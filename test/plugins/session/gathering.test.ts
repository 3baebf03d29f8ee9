import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import Fastify from 'fastify'
import t, { type Test } from 'tap'
import { session } from '../../../plugins/session/index.ts'
import { storage } from '../../../plugins/storage/index.ts'
import { SECRET } from '../../fixtures/session-app.ts'
import { onEveryStorage, storageUrl } from '../../fixtures/storages.ts'

const NAMES = ['a', 'b', 'c']

async function connected(t: Test, port: number): Promise<Socket> {
  const socket = connect({ port, host: '127.0.0.1', noDelay: true })
  t.teardown(() => socket.destroy())
  await once(socket, 'connect')
  return socket
}

/** Sends a request each, all in one turn, and waits for their answers. */
async function askTogether(sockets: Socket[], path: string, cookie = ''): Promise<string[]> {
  const answers = sockets.map((socket) => once(socket, 'data'))
  sockets.forEach((socket, i) => {
    socket.write(`GET ${path}/${NAMES[i]} HTTP/1.1\r\nhost: x\r\n${cookie}\r\n`)
  })
  return (await Promise.all(answers)).map(([data]) => `${data}`)
}

t.test('requests with a session that come in one turn all arrive before the first of them goes on', (t) =>
  onEveryStorage(t, async (t, kind) => {
    const app = Fastify()
    t.teardown(() => app.close())
    let steps: string[] = []
    app.addHook('onRequest', async ({ url }) => {
      steps.push(`${url.at(-1)} arrives`)
    })
    await app.register(storage, { storage: await storageUrl(t, kind) })
    await app.register(session, { secret: SECRET, production: false })
    app.get('/begin/:name', async (request) => {
      request.session.set('n', 1)
      return {}
    })
    app.get('/read/:name', async ({ url, session }) => {
      steps.push(`${url.at(-1)} goes on`)
      return { n: session.get('n') }
    })
    const { port } = new URL(await app.listen({ host: '127.0.0.1', port: 0 }))
    const sockets = await Promise.all(NAMES.map(() => connected(t, Number(port))))
    const [begun = ''] = await askTogether(sockets, '/begin')
    const cookie = `cookie: ${/set-cookie: ([^;]+)/i.exec(begun)?.[1]}\r\n`
    await askTogether(sockets, '/read', cookie)
    steps = []
    for (const answer of await askTogether(sockets, '/read', cookie)) t.match(answer, /{"n":1}/)
    t.same(
      steps.map((step) => step.slice(2)),
      [...NAMES.map(() => 'arrives'), ...NAMES.map(() => 'goes on')],
    )
  }),
)

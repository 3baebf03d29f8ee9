import { once } from 'node:events'
import { createServer, type Socket } from 'node:net'
import t, { type Test } from 'tap'
import { type ExchangeOptions, exchange, type Piece } from './exchange.ts'

/** What `exchange` makes of a server that does this with each connection. */
async function against(
  t: Test,
  serve: (socket: Socket) => unknown,
  pieces: Piece[] = ['x'],
  options: ExchangeOptions = {},
) {
  const server = createServer((socket) => {
    socket.on('error', () => {})
    serve(socket)
  })
  t.teardown(() => server.close())
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as { port: number }
  const { answers, took, ...rest } = await exchange({ host: '127.0.0.1', port }, pieces, options)
  return { ...rest, answers: answers.map(({ status, body, complete }) => [status, body.toString(), complete]) }
}

t.test('answers by length, in chunks and to the end are told apart, however they are cut', async (t) => {
  const text =
    'HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok' +
    'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n' +
    'HTTP/1.1 404 Not Found\r\n\r\nto the end'
  const expected = [
    [200, 'ok', true],
    [200, 'abc', true],
    [204, '', true],
    [404, 'to the end', true],
  ]
  for (const size of [1, 7, 1_000]) {
    const serve = async (socket: Socket) => {
      for (let at = 0; at < text.length; at += size) {
        if (!socket.write(text.slice(at, at + size))) await once(socket, 'drain')
        await new Promise((resolve) => setImmediate(resolve))
      }
      socket.end()
    }
    t.same(await against(t, serve, ['x'], { answers: 4 }), { end: 'closed', answers: expected }, `pieces of ${size}`)
  }
})

t.test('what is no whole answer is told', async (t) => {
  t.same(await against(t, (socket) => socket.end('hello\r\n\r\n')), { end: 'answered', garbage: 'hello', answers: [] })
  t.same(await against(t, (socket) => socket.end()), { end: 'closed', answers: [] })
  t.match(await against(t, (socket) => socket.once('data', () => socket.resetAndDestroy())), { end: 'reset' })
  t.same(await against(t, (socket) => socket.end('HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok')), {
    end: 'closed',
    answers: [[200, 'ok', false]],
  })
  t.match(await against(t, () => {}, ['x'], { deadline: 50 }), { end: 'deadline', answers: [] })
  const stream = await against(t, (socket) => socket.write('HTTP/1.1 200 OK\r\n\r\n: for ever'), ['x'], {
    headersOnly: true,
  })
  t.same(stream, { end: 'answered', answers: [[200, '', true]] })
})

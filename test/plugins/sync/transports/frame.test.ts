import { randomBytes } from 'node:crypto'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { constants, inflateRawSync } from 'node:zlib'
import t from 'tap'
import { WebSocket, WebSocketServer } from 'ws'
import { Frame } from '../../../../plugins/sync/transports/frame.ts'

t.test('the bytes of a frame are what a WebSocket receiver understands, at every length of header', async (t) => {
  const texts = [0, 1, 125, 126, 127, 65_535, 65_536, 200_000].map(
    (length) => 'é'.repeat(Math.floor(length / 2)) + 'x'.repeat(length % 2),
  )
  const http = createServer()
  const server = new WebSocketServer({ server: http })
  server.on('connection', (_, request) => {
    for (const text of texts) request.socket.write(new Frame(text).wire)
  })
  await new Promise<void>((resolve) => http.listen(0, '127.0.0.1', resolve))
  const client = new WebSocket(`ws://127.0.0.1:${(http.address() as AddressInfo).port}`)
  t.teardown(() => {
    client.terminate()
    server.close()
    http.close()
  })
  const received: string[] = []
  await new Promise<void>((resolve, reject) => {
    client.on('error', reject)
    client.on('message', (data) => {
      if (received.push(data.toString()) === texts.length) resolve()
    })
  })
  t.ok(received.every((text, index) => text === texts[index]))
})

t.test('a compressed frame says the same, and is only made where it is shorter', async (t) => {
  const inflated = (wire: Buffer) =>
    inflateRawSync(Buffer.concat([wire.subarray(4), Buffer.from('0000ffff', 'hex')]), {
      finishFlush: constants.Z_SYNC_FLUSH,
    }).toString()
  const long = new Frame(JSON.stringify(Array.from({ length: 1_000 }, (_, index) => ({ index, name: 'é' }))))
  t.equal(long.compressed[0], 0xc1)
  t.equal(inflated(long.compressed), long.text)
  t.equal(long.compressed, long.compressed)
  const large = new Frame('x'.repeat(100_000))
  t.equal(large.wire.length, 100_010)
  t.equal(inflated(large.compressed), large.text, 'also when the text is only in the plain one')

  const short = new Frame('x'.repeat(1_023))
  t.equal(short.compressed, short.wire)
  const noise = new Frame(randomBytes(2_048).toString('base64'))
  t.ok(noise.compressed.length <= noise.wire.length)
})

t.test('they are made once', async (t) => {
  const frame = new Frame('{}', '1:a.5')
  t.equal(frame.wire, frame.wire)
  t.equal(frame.event, frame.event)
  t.equal(frame.event.toString(), 'id: 1:a.5\ndata: {}\n\n')
})

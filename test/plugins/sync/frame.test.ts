import t from 'tap'
import { Receiver } from 'ws'
import { Frame } from '../../../plugins/sync/frame.ts'

t.test('the bytes of a frame are what a WebSocket receiver understands, at every length of header', async (t) => {
  for (const length of [0, 1, 125, 126, 127, 65_535, 65_536, 200_000]) {
    const text = 'é'.repeat(Math.floor(length / 2)) + 'x'.repeat(length % 2)
    const receiver = new Receiver({ isServer: false })
    const received = new Promise((resolve) => receiver.on('message', (data: Buffer) => resolve(data.toString())))
    receiver.write(new Frame(text).wire)
    t.equal(await received, text, `${length} bytes`)
  }
})

t.test('they are made once', async (t) => {
  const frame = new Frame('{}', '1:a.5')
  t.equal(frame.wire, frame.wire)
  t.equal(frame.event, frame.event)
  t.equal(frame.event.toString(), 'id: 1:a.5\ndata: {}\n\n')
})

import { randomBytes } from 'node:crypto'
import { connect, type Socket } from 'node:net'
import type { Random } from '../fixtures/random.ts'
import { checked } from '../plugins/sync/messages.ts'
import { shown } from './findings.ts'
import { Generator } from './generate.ts'
import { type Attack, type Hostile, judgedExchange } from './hostile.ts'

const TEXT = 1
const BINARY = 2
const CLOSE = 8
const PING = 9

interface FrameOptions {
  opcode?: number
  fin?: boolean
  /** The three reserved bits. */
  reserved?: number
  masked?: boolean
  /** What the header says, whatever is sent. */
  length?: number
}

/** One frame as RFC 6455 has it, or as the options spoil it. */
function frame(payload: string | Buffer, options: FrameOptions = {}): Buffer {
  const { opcode = TEXT, fin = true, reserved = 0, masked = true } = options
  const body = Buffer.from(payload)
  const length = options.length ?? body.length
  const size = length < 126 ? Buffer.alloc(0) : Buffer.alloc(length < 65_536 ? 2 : 8)
  if (size.length === 2) size.writeUInt16BE(length)
  if (size.length === 8) size.writeBigUInt64BE(BigInt(length))
  const short = size.length === 0 ? length : size.length === 2 ? 126 : 127
  const header = Buffer.from([(fin ? 0x80 : 0) | (reserved << 4) | opcode, (masked ? 0x80 : 0) | short])
  if (!masked) return Buffer.concat([header, size, body])
  const key = randomBytes(4)
  for (const [index, byte] of body.entries()) body[index] = byte ^ (key[index % 4] as number)
  return Buffer.concat([header, size, key, body])
}

/** What was put into a frame, for people. */
function unmasked(frame: Buffer): string {
  const short = (frame[1] as number) & 0x7f
  const begin = short === 126 ? 4 : short === 127 ? 10 : 2
  const key = frame.subarray(begin, begin + 4)
  const body = Buffer.from(frame.subarray(begin + 4, begin + 204))
  for (const [index, byte] of body.entries()) body[index] = byte ^ (key[index % 4] as number)
  return shown(body, 200)
}

/** The texts that the server sent, and the code it closed with. */
function readFrames(bytes: Buffer): { texts: string[]; closed?: number } {
  const texts: string[] = []
  for (let at = 0; at + 2 <= bytes.length; ) {
    const opcode = (bytes[at] as number) & 0x0f
    const short = (bytes[at + 1] as number) & 0x7f
    let begin = at + 2
    let length = short
    if (short === 126 && begin + 2 <= bytes.length) length = bytes.readUInt16BE(begin)
    if (short === 127 && begin + 8 <= bytes.length) length = Number(bytes.readBigUInt64BE(begin))
    begin += short === 126 ? 2 : short === 127 ? 8 : 0
    if (begin + length > bytes.length) break
    const payload = bytes.subarray(begin, begin + length)
    if (opcode === CLOSE) return { texts, closed: length >= 2 ? payload.readUInt16BE() : 1005 }
    if (opcode === TEXT) texts.push(payload.toString())
    at = begin + length
  }
  return { texts }
}

const handshake = (hostile: Hostile, query: string, ...lines: string[]) =>
  [
    `GET /sync${query} HTTP/1.1`,
    `Host: 127.0.0.1:${hostile.target.port}`,
    'Connection: Upgrade',
    'Upgrade: websocket',
    `Sec-WebSocket-Key: ${Buffer.alloc(16, 1).toString('base64')}`,
    'Sec-WebSocket-Version: 13',
    ...(hostile.cookie() === '' ? [] : [`Cookie: ${hostile.cookie()}`]),
    ...lines,
    '\r\n',
  ].join('\r\n')

/** How long the server may take to say what it thinks of the frames, in milliseconds. */
const PATIENCE = 400
/** How long what it does not do at once may take, after it has read everything. */
const AFTERWARDS = 50
/** Its answer says that everything before it was read. */
const LAST = frame('the last', { opcode: PING })
const SPACE = '?space=hostile-1'

/** Sends frames over a connection of their own; what comes back must be messages of the contract. */
async function sendFrames(hostile: Hostile, query: string, frames: Buffer[]): Promise<void> {
  const { target } = hostile
  const socket = connect({ ...target, ...(target.from ? { localAddress: target.from } : {}) })
  const chunks: Buffer[] = []
  let upgraded = false
  let tellRead = () => {}
  const read = new Promise<void>((resolve) => {
    tellRead = resolve
  })
  const gone = new Promise<void>((resolve) => socket.once('close', () => resolve()))
  socket.on('error', () => {})
  socket.on('data', (chunk) => {
    chunks.push(chunk)
    if (upgraded && chunk.includes('the last')) tellRead()
    if (upgraded) return
    const bytes = Buffer.concat(chunks)
    const end = bytes.indexOf('\r\n\r\n')
    if (end < 0) return
    if (!bytes.toString('latin1', 0, 12).endsWith(' 101')) {
      socket.destroy()
      return
    }
    upgraded = true
    chunks.splice(0, chunks.length, bytes.subarray(end + 4))
    for (const one of frames) socket.write(one)
    socket.write(LAST)
  })
  socket.write(handshake(hostile, query))
  await Promise.race([gone, read.then(() => waiting(AFTERWARDS)), waiting(PATIENCE + frames.length / 10)])
  socket.destroy()
  if (!upgraded) return
  for (const text of readFrames(Buffer.concat(chunks)).texts) {
    try {
      checked(text)
    } catch (error) {
      const sent = frames.map(unmasked).join(' ')
      hostile.report({
        kind: 'no message of the contract',
        where: 'WS /sync',
        example: `${sent.slice(0, 2_000)}\n    → ${shown(text, 300)}: ${(error as Error).message.slice(0, 200)}`,
      })
    }
  }
}

const waiting = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms))

/** Messages made from the contract, from right ones to hostile ones. */
export const messages: Attack = {
  name: 'messages',
  weight: 10,
  sends: 'frames',
  async run(hostile) {
    const { contract, random } = hostile
    const generator = new Generator(contract, random)
    const frames = Array.from({ length: random.integer(1, 40) }, () => {
      const schema = random.pick(contract.messages)
      const kind = random.pick(['valid', 'nearly valid', 'nearly valid', 'hostile'])
      if (kind === 'valid') return frame(JSON.stringify(generator.valid(schema)))
      return frame(kind === 'hostile' ? generator.hostile() : generator.nearlyValid(schema))
    })
    await sendFrames(hostile, random.pick([SPACE, SPACE, '']), frames)
    hostile.sent('frames', frames.length)
  },
}

type MakeFrames = (random: Random) => Buffer[]

const spoilt: Record<string, MakeFrames> = {
  binary: () => [frame('{"type":"heartbeat"}', { opcode: BINARY })],
  'tiny fragments': (random) => {
    const letters = [...`{"type":"heartbeat","x":"${'x'.repeat(random.integer(0, 20_000))}"}`]
    return letters.map((letter, index) =>
      frame(letter, { opcode: index === 0 ? TEXT : 0, fin: index === letters.length - 1 }),
    )
  },
  'fragments without an end': () => [
    frame('{', { fin: false }),
    ...Array(2_000).fill(frame('', { opcode: 0, fin: false })),
  ],
  'a continuation of nothing': () => [frame('x', { opcode: 0 })],
  'a message in a message': () => [frame('{', { fin: false }), frame('{"type":"heartbeat"}')],
  'too large': () => [frame('x'.repeat(1_200_000))],
  'said to be huge': (random) => [frame('x', { length: random.pick([2 ** 31, 2 ** 40, Number.MAX_SAFE_INTEGER]) })],
  'reserved bits': (random) => [frame('x', { reserved: random.integer(1, 7) })],
  'no such opcode': (random) => [frame('x', { opcode: random.pick([3, 7, 11, 15]) })],
  'not masked': () => [frame('{"type":"heartbeat"}', { masked: false })],
  'no UTF-8': () => [frame(Buffer.from([0xff, 0xfe, 0xc0, 0xaf]))],
  'a long ping': () => [frame('x'.repeat(126), { opcode: PING })],
  pings: (random) => Array(random.integer(1, 500)).fill(frame('x', { opcode: PING })),
  'a close with a wrong code': (random) => {
    const code = Buffer.alloc(2)
    code.writeUInt16BE(random.pick([0, 999, 1004, 1005, 1006, 1015, 2000, 5000, 65_535]))
    return [frame(code, { opcode: CLOSE })]
  },
  'a close of one byte': () => [frame('x', { opcode: CLOSE })],
  'messages after the close': () => [frame('', { opcode: CLOSE }), frame('{"type":"heartbeat"}'), frame('{}')],
  noise: (random) => [Buffer.from(Array.from({ length: random.integer(1, 500) }, () => random.integer(0, 255)))],
  deflated: () => [frame(Buffer.from('aa56ca48cdc9c95700', 'hex'), { reserved: 4 })],
  deep: () => [frame('['.repeat(100_000)), frame('{"type":'.repeat(50_000))],
}

/** Frames that the protocol does not allow, or barely. */
export const frames: Attack = {
  name: 'frames',
  weight: 8,
  sends: 'frames',
  async run(hostile) {
    const make = hostile.random.pick(Object.values(spoilt))
    await sendFrames(hostile, SPACE, make(hostile.random))
    // However many fragments it is made of.
    hostile.sent('frames', 1)
  },
}

/** Upgrades that are refused, or never finished. */
export const handshakes: Attack = {
  name: 'handshakes',
  weight: 5,
  sends: 'requests',
  async run(hostile) {
    const { random } = hostile
    const request = random.pick([
      handshake(hostile, SPACE).replace('Version: 13', `Version: ${random.pick(['12', '', 'x', '13, 13'])}`),
      handshake(hostile, SPACE).replace(/Key: \S+/, `Key: ${random.pick(['', 'short', 'x'.repeat(5_000)])}`),
      handshake(hostile, SPACE).replace('GET', random.pick(['POST', 'PUT', 'HEAD', 'OPTIONS'])),
      handshake(hostile, SPACE).replace('websocket', random.pick(['h2c', 'websocket, h2c', 'WEBSOCKET\t', ''])),
      handshake(hostile, SPACE).replace('/sync', random.pick(['/nothing', '/profile', '/sync/', '/sync/events', '/%'])),
      handshake(hostile, SPACE, 'Origin: http://evil.example'),
      handshake(hostile, SPACE, 'Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=1'),
      handshake(hostile, SPACE, `Sec-WebSocket-Protocol: ${random.pick(['a, a', ',', 'x'.repeat(4_000)])}`),
      handshake(
        hostile,
        random.pick(['?space=../x', '?space=', '?space=a&space=b', '?since=x', '?x=1', '?key=', '?%']),
      ),
      handshake(hostile, SPACE, 'Content-Length: 10', 'Transfer-Encoding: chunked'),
    ])
    await judgedExchange(hostile, [request], { where: 'upgrade', mayClose: true, deadline: 5_000, unfinished: true })
  },
}

/** A socket that has followed a space; for the floods. */
export async function openHostileSocket(hostile: Hostile, query = SPACE): Promise<Socket> {
  const { target } = hostile
  const socket = connect({ ...target, ...(target.from ? { localAddress: target.from } : {}) })
  socket.on('error', () => {})
  socket.write(handshake(hostile, query))
  await Promise.race([
    new Promise<void>((resolve) => socket.once('data', () => resolve())),
    new Promise<void>((resolve) => socket.once('close', () => resolve())),
    waiting(5_000),
  ])
  return socket
}

export { frame }

import type { Random } from '../fixtures/random.ts'
import type { Piece } from './exchange.ts'
import { type Attack, type Judged, judgedExchange } from './hostile.ts'

interface Shape extends Judged {
  pieces: Piece[]
}

type MakeShape = (context: { random: Random; host: string; cookie: string }) => Shape

const JSON_TYPE = 'Content-Type: application/json'
const LOGIN = '{"username":"nobody","password":"not the password"}'
const head = (first: string, ...lines: string[]) => `${[first, ...lines].join('\r\n')}\r\n\r\n`
const noise = (random: Random, length: number) => Buffer.from(Array.from({ length }, () => random.integer(0, 255)))

/** Everything that a connection can be misused for, each as what is sent. */
const shapes: Record<string, MakeShape> = {
  garbage: ({ random }) => ({ pieces: [noise(random, random.integer(1, 2_000)), '\r\n\r\n'], mayClose: true }),
  'TLS hello': () => ({ pieces: [Buffer.from('16030100a5010000a10303', 'hex'), '\r\n\r\n'], mayClose: true }),
  'HTTP/2 preface': () => ({ pieces: ['PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'], mayClose: true }),
  'another version': ({ random, host }) => ({
    pieces: [head(`GET /health/live HTTP/${random.pick(['0.9', '1.2', '2.0', '3', '1.1x', ''])}`, host)],
    mayClose: true,
    answers: 1,
  }),
  'no host': () => ({ pieces: [head('GET /health/live HTTP/1.1')] }),
  'two hosts': ({ host }) => ({ pieces: [head('GET /nothing HTTP/1.1', host, 'Host: evil', 'Connection: close')] }),
  'huge header': ({ random, host }) => ({
    pieces: [head('GET /nothing HTTP/1.1', host, `X-Long: ${'x'.repeat(random.pick([17_000, 70_000, 300_000]))}`)],
  }),
  'many headers': ({ host }) => ({
    pieces: [head('GET /nothing HTTP/1.1', host, ...Array.from({ length: 3_000 }, (_, index) => `X-${index}: y`))],
  }),
  'folded header': ({ host }) => ({
    pieces: [head('GET /nothing HTTP/1.1', host, 'X-Folded: a\r\n b', 'Connection: close')],
    mayClose: true,
  }),
  'header without a name': ({ random, host }) => ({
    pieces: [
      head('GET /nothing HTTP/1.1', host, random.pick([': x', 'a b: c', 'a\x00b: c', 'X: \x00', 'Connection : close'])),
    ],
    mayClose: true,
  }),
  'long target': ({ random, host }) => ({
    pieces: [head(`GET /${'x'.repeat(random.pick([2_100, 9_000, 40_000]))} HTTP/1.1`, host, 'Connection: close')],
  }),
  'bad target': ({ random, host }) => ({
    pieces: [
      head(
        `GET ${random.pick(['/%', '/%ff%fe', '/%00', '*', 'http://evil/', '//evil/', '/\\..\\', '/a b', '/\xff', '?', '/state/keys/%', '/..%2f..%2fetc'])} HTTP/1.1`,
        host,
        'Connection: close',
      ),
    ],
    mayClose: true,
  }),
  'another method': ({ random, host }) => ({
    pieces: [
      head(
        `${random.pick(['OPTIONS', 'TRACE', 'PATCH', 'DELETE', 'PROPFIND', 'PURGE', 'SEARCH', 'QUERY'])} /profile HTTP/1.1`,
        host,
        'Connection: close',
      ),
    ],
  }),
  'no method': ({ random, host }) => ({
    pieces: [head(`${random.pick(['BREW', 'get', 'GE T', 'A'.repeat(300)])} /profile HTTP/1.1`, host)],
    mayClose: true,
  }),
  connect: ({ host }) => ({ pieces: [head('CONNECT evil.example:443 HTTP/1.1', host)], mayClose: true }),
  'length and chunks': ({ host }) => ({
    pieces: [
      head('POST /login HTTP/1.1', host, JSON_TYPE, 'Content-Length: 6', 'Transfer-Encoding: chunked'),
      '0\r\n\r\nGET /metrics HTTP/1.1\r\n\r\n',
    ],
    mayClose: true,
  }),
  'two lengths': ({ host }) => ({
    pieces: [head('POST /login HTTP/1.1', host, JSON_TYPE, 'Content-Length: 2', 'Content-Length: 40'), '{}'],
    mayClose: true,
  }),
  'no such length': ({ random, host }) => ({
    pieces: [
      head(
        'POST /login HTTP/1.1',
        host,
        JSON_TYPE,
        `Content-Length: ${random.pick(['-1', '1e3', '0x10', '99999999999999999999', '+2'])}`,
      ),
      '{}',
    ],
    mayClose: true,
  }),
  'odd transfer encoding': ({ random, host }) => ({
    pieces: [
      head(
        'POST /login HTTP/1.1',
        host,
        JSON_TYPE,
        `Transfer-Encoding: ${random.pick(['xchunked', 'gzip, chunked', 'chunked, identity', '\x0bchunked'])}`,
      ),
      '2\r\n{}\r\n0\r\n\r\n',
    ],
    mayClose: true,
  }),
  'bad chunks': ({ random, host }) => ({
    pieces: [
      head('POST /login HTTP/1.1', host, JSON_TYPE, 'Transfer-Encoding: chunked'),
      random.pick([
        'zz\r\n{}\r\n',
        'fffffffffffffffff\r\n',
        '-1\r\n',
        '2;a="\x00"\r\n{}\r\n0\r\n\r\n',
        '1\r\n{}\r\n0\r\n\r\n',
      ]),
    ],
    mayClose: true,
    unfinished: true,
    deadline: 2_000,
  }),
  'chunks and trailers': ({ host }) => ({
    pieces: [
      head('POST /login HTTP/1.1', host, JSON_TYPE, 'Transfer-Encoding: chunked', 'Connection: close'),
      `${LOGIN.length.toString(16)}\r\n${LOGIN}\r\n0\r\nContent-Length: 5\r\nCookie: sid=x\r\n\r\n`,
    ],
    mayClose: true,
  }),
  expectation: ({ random, host }) => ({
    pieces: [
      head(
        'POST /login HTTP/1.1',
        host,
        JSON_TYPE,
        'Content-Length: 2',
        `Expect: ${random.pick(['100-continue', '200-ok'])}`,
        'Connection: close',
      ),
      '{}',
    ],
  }),
  pipeline: ({ random, host, cookie }) => {
    const count = random.integer(10, 100)
    const one = head('GET /profile HTTP/1.1', host, ...(cookie === '' ? [] : [`Cookie: ${cookie}`]))
    return { pieces: [one.repeat(count)], answers: count }
  },
  'pipeline, never read to its end': ({ random, host }) => ({
    pieces: [head('GET /openapi.json HTTP/1.1', host).repeat(random.integer(10, 60))],
    answers: 100,
    abandonAfter: 100_000,
    mayClose: true,
  }),
  'abort in the body': ({ random, host }) => ({
    pieces: [
      head('POST /login HTTP/1.1', host, JSON_TYPE, 'Content-Length: 100000'),
      'x'.repeat(random.integer(0, 90_000)),
    ],
    abandonAfter: 0,
  }),
  'abort in the answer': ({ random, host, cookie }) => ({
    pieces: [
      head(
        `GET ${random.pick(['/openapi.json', '/profile', '/state/snapshot?space=hostile-1', '/state/changes?space=hostile-1&since=0&wait=500', '/sync/events?space=hostile-1', '/metrics'])} HTTP/1.1`,
        host,
        ...(cookie === '' ? [] : [`Cookie: ${cookie}`]),
      ),
      random.integer(0, 30),
    ],
    abandonAfter: random.pick([0, 1, 500]),
    mayClose: true,
  }),
  'abort of a write': ({ random, host, cookie }) => {
    const body = `{"value":${random.integer(0, 9)}}`
    return {
      pieces: [
        head(
          `PUT /state/keys/a?space=hostile-1 HTTP/1.1`,
          host,
          JSON_TYPE,
          `Content-Length: ${body.length}`,
          ...(cookie === '' ? [] : [`Cookie: ${cookie}`]),
        ),
        body,
        random.integer(0, 5),
      ],
      abandonAfter: 0,
    }
  },
  'byte by byte': ({ random, host }) => ({
    pieces: [...head('GET /nothing HTTP/1.1', host, 'Connection: close')].flatMap((byte) =>
      random.chance(0.1) ? [byte, 5] : [byte],
    ),
  }),
}

/** Raw bytes on a connection: what is no HTTP, or nearly, or HTTP that is misused. */
export const rawHttp: Attack = {
  name: 'raw',
  weight: 20,
  sends: 'requests',
  async run(hostile) {
    const { random, target } = hostile
    const [name, make] = random.pick(Object.entries(shapes))
    const shape = make({ random, host: `Host: 127.0.0.1:${target.port}`, cookie: hostile.cookie() })
    const { pieces, ...options } = shape
    await judgedExchange(hostile, pieces.map(toBytes), { where: `raw: ${name}`, ...options })
  },
}

/** A string here is a text of bytes. */
function toBytes(piece: Piece): Piece {
  return typeof piece === 'string' ? Buffer.from(piece, 'latin1') : piece
}

import { Writable } from 'node:stream'
import Fastify from 'fastify'
import t, { type Test } from 'tap'
import { security } from '../../../plugins/security/index.ts'

async function app(t: Test, trustProxy: string[] | false) {
  const lines: { level: number; msg: string; [name: string]: unknown }[] = []
  const stream = new Writable({
    write(chunk, _encoding, done) {
      lines.push(JSON.parse(chunk))
      done()
    },
  })
  const fastify = Fastify({ trustProxy, logger: { level: 'warn', stream } })
  t.teardown(() => fastify.close())
  await fastify.register(security, { pressure: { maxEventLoopDelay: 0, maxHeapUsedBytes: 0 } })
  fastify.get('/', async () => 'fine')
  const get = (headers: Record<string, string>, remoteAddress = '10.0.0.9') =>
    fastify.inject({ url: '/', headers, remoteAddress })
  return { lines, get }
}

const FORWARDED: Record<string, string>[] = [
  { 'x-forwarded-for': '203.0.113.7' },
  { 'x-forwarded-proto': 'https' },
  { 'x-forwarded-host': 'app.example' },
  { forwarded: 'for=203.0.113.7;proto=https' },
]

for (const headers of FORWARDED) {
  t.test(`${Object.keys(headers)} of a peer that is not trusted is told, once`, async (t) => {
    const { lines, get } = await app(t, false)
    await get({})
    t.same(lines, [])
    for (let n = 0; n < 20; n++) t.equal((await get(headers)).statusCode, 200)
    t.equal(lines.length, 1)
    t.match(lines[0], {
      level: 40,
      peer: '10.0.0.9',
      protocol: 'http',
      headers: Object.keys(headers),
      msg: /TRUST_PROXY/,
    })
    t.match(lines[0]?.msg, /Secure cookie/)
    t.notMatch(JSON.stringify(lines), /203\.0\.113/, 'nothing that a client made up')
  })
}

t.test('a proxy that is named is nothing to tell; another than the named is', async (t) => {
  const { lines, get } = await app(t, ['10.0.0.0/8'])
  await get({ 'x-forwarded-for': '203.0.113.7', 'x-forwarded-proto': 'https' })
  await get({ 'x-forwarded-proto': 'https' })
  t.same(lines, [])
  await get({ 'x-forwarded-for': '203.0.113.7' }, '192.0.2.44')
  t.match(lines, [{ peer: '192.0.2.44' }])
})

t.test('`Forwarded` alone is not read, also of a trusted proxy', async (t) => {
  const { lines, get } = await app(t, ['10.0.0.0/8'])
  await get({ forwarded: 'for=203.0.113.7' })
  t.match(lines, [{ headers: ['forwarded'], msg: /X-Forwarded-For/ }])
})

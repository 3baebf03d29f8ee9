import { once } from 'node:events'
import { connect } from 'node:net'
import t from 'tap'
import { timed } from './fixture.ts'

t.test('a reply that ends without Fastify releases who waits at once', async (t) => {
  let calls = 0
  const { app } = await timed(t, (app) => {
    app.get('/', { config: { cache: { ttl: '1m' } } }, (_request, reply) => {
      if (++calls > 1) return reply.send('own')
      reply.raw.end('by hand')
      return undefined
    })
  })
  const answers = await Promise.all([app.inject('/'), app.inject('/')])
  t.strictSame(answers.map(({ body }) => body).sort(), ['by hand', 'own'])
})

t.test('a reply that is taken over later releases who waits at once', async (t) => {
  let calls = 0
  const { app } = await timed(t, (app) => {
    app.get('/', { config: { cache: { ttl: '1m' } } }, (_request, reply) => {
      const call = ++calls
      if (call > 1) return reply.send('own')
      setImmediate(() => {
        reply.hijack()
        reply.raw.write('never ends')
      })
      return undefined
    })
  })
  await app.listen({ port: 0, host: '127.0.0.1' })
  const first = connect((app.server.address() as { port: number }).port, '127.0.0.1')
  t.teardown(() => first.destroy())
  first.write('GET / HTTP/1.1\r\nhost: localhost:80\r\n\r\n')
  await once(first, 'data')
  t.equal((await app.inject('/')).body, 'own')
})

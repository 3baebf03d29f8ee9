import type { FastifyInstance } from 'fastify'
import t from 'tap'
import { onEveryStorage, storageUrl } from '../../fixtures/storages.ts'
import { timed } from './fixture.ts'

t.test('what an unsafe method has changed is not served any more', async (t) => {
  await onEveryStorage(t, async (t, kind) => {
    const url = await storageUrl(t, kind)
    let calls = 0
    const set = (app: FastifyInstance) => {
      const config = { cache: { ttl: '1h', vary: ['accept'] } }
      app.get('/things/:id', { config }, async () => `${++calls}`)
      app.get('/things', { config: { cache: { ttl: 'headers' } } }, async (_request, reply) => {
        reply.header('cache-control', 'max-age=60')
        return `${++calls}`
      })
      app.put('/things/:id', async ({ headers }, reply) => {
        if (headers['x-fail']) return reply.code(409).send('no')
        return 'ok'
      })
      app.post('/things', async (request, reply) => {
        const { to } = request.query as { to?: string }
        return reply.code(201).header('location', to).send('made')
      })
      app.delete('/other', async (_request, reply) =>
        reply.header('content-location', 'http://elsewhere/things/1').send('x'),
      )
    }
    const { app } = await timed(t, set, {}, () => {}, url)
    const get = async (url: string, accept = 'a') => (await app.inject({ url, headers: { accept } })).body
    const before = [
      await get('/things/1'),
      await get('/things/1', 'b'),
      await get('/things?x=1'),
      await get('/things/2'),
    ]
    const now = async () => [
      await get('/things/1'),
      await get('/things/1', 'b'),
      await get('/things?x=1'),
      await get('/things/2'),
    ]
    await app.inject({ method: 'PUT', url: '/things/1', headers: { 'x-fail': '1' } })
    await app.inject({ method: 'DELETE', url: '/other' })
    await app.inject({ method: 'OPTIONS', url: '/things/1' })
    t.strictSame(await now(), before, 'a failure, another host and a safe method change nothing')
    await app.inject({ method: 'PUT', url: '/things/1' })
    const changed = await now()
    t.not(changed[0], before[0])
    t.not(changed[1], before[1], 'each of its answers')
    t.strictSame(changed.slice(2), before.slice(2), 'and no other')
    await app.inject({ method: 'POST', url: '/things?to=/things/2' })
    const made = await now()
    t.not(made[3], changed[3], 'what Location names')
    t.strictSame(made.slice(0, 3), changed.slice(0, 3))
  })
})

t.test('a change while an answer is made: the answer is not kept', async (t) => {
  let go = () => {}
  let begun = () => {}
  const started = new Promise<void>((resolve) => {
    begun = resolve
  })
  let version = 1
  const { app } = await timed(t, (app) => {
    app.get('/a', { config: { cache: { ttl: '1h' } } }, async (_request, reply) => {
      const read = version
      reply.header('vary', 'x-theme')
      if (read === 1) {
        begun()
        await new Promise<void>((resolve) => {
          go = resolve
        })
      }
      return `${read}`
    })
    app.put('/a', async () => {
      version = 2
      return 'ok'
    })
  })
  const first = app.inject('/a')
  await started
  await app.inject({ method: 'PUT', url: '/a' })
  go()
  t.equal((await first).body, '1')
  t.equal((await app.inject('/a')).body, '2')
})

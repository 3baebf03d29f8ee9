import { once } from 'node:events'
import { connect } from 'node:net'
import Fastify from 'fastify'
import t, { type Test } from 'tap'
import { draining } from '../../../plugins/draining/index.ts'
import { ManualClock } from '../../../plugins/support/manual-clock.ts'

function withResolvers() {
  let resolve = () => {}
  const promise = new Promise<void>((done) => {
    resolve = done
  })
  return { promise, resolve }
}

async function start(t: Test, clock = new ManualClock()) {
  const app = Fastify({ forceCloseConnections: true })
  await app.register(draining, { timeout: '5s', clock })
  const arrived = withResolvers()
  const finish = withResolvers()
  app.get('/slow', async () => {
    arrived.resolve()
    await finish.promise
    return 'done'
  })
  app.get('/quick', async () => 'quick')
  const url = await app.listen({ port: 0 })
  t.teardown(() => {
    finish.resolve()
    return app.close()
  })
  return { app, url, clock, arrived: arrived.promise, finish: () => finish.resolve() }
}

t.test('a request in flight gets its answer before the server closes', async (t) => {
  const { app, url, arrived, finish } = await start(t)
  const answer = fetch(`${url}/slow`)
  await arrived
  let closed = false
  const closing = app.close().then(() => {
    closed = true
  })
  const refused = await fetch(`${url}/quick`)
  t.equal(refused.status, 503, 'new requests are told to go elsewhere meanwhile')
  t.notOk(closed)
  finish()
  t.equal(await (await answer).text(), 'done')
  await closing
})

t.test('a request that does not end is cut at the deadline', async (t) => {
  const { app, url, arrived, clock } = await start(t)
  const answer = fetch(`${url}/slow`).catch((error: Error) => error)
  await arrived
  const closing = app.close()
  while (clock.timers === 0) await new Promise(setImmediate)
  clock.advance(5_000)
  await closing
  t.ok((await answer) instanceof Error)
})

t.test('a client that went away is not waited for', async (t) => {
  const { app, url, clock, arrived } = await start(t)
  const socket = connect(Number(new URL(url).port), '127.0.0.1')
  socket.write('GET /slow HTTP/1.1\r\nHost: x\r\n\r\n')
  await arrived
  socket.destroy()
  await once(socket, 'close')
  await app.close()
  t.equal(clock.timers, 0)
})

t.test('nor is one that had sent more requests before it got the first answer', async (t) => {
  const { app, url, clock, arrived } = await start(t)
  const socket = connect(Number(new URL(url).port), '127.0.0.1')
  socket.write(`${'GET /slow HTTP/1.1\r\nHost: x\r\n\r\n'}${'GET /quick HTTP/1.1\r\nHost: x\r\n\r\n'.repeat(20)}`)
  await arrived
  // Behind the first one they have been handled, and their answers wait for their turn.
  await fetch(`${url}/quick`)
  socket.destroy()
  await once(socket, 'close')
  await app.close()
  t.equal(clock.timers, 0)
})

t.test('an idle server closes without a wait', async (t) => {
  const { app, url, clock } = await start(t)
  await (await fetch(`${url}/quick`)).text()
  await app.close()
  t.equal(clock.timers, 0)
})

t.test('a timeout that is no duration stops the boot', async (t) => {
  const boot = async () => {
    await Fastify().register(draining, { timeout: 'soon' })
  }
  await t.rejects(boot(), { code: 'STATEFUL_INVALID_DURATION' })
})

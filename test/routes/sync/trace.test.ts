import t, { type Test } from 'tap'
import type { SyncTraced } from '../../../openapi/schemas/sync.ts'
import { loggedIn, loggedInUser, testApp } from '../../fixtures/app.ts'
import { eventually } from '../../fixtures/eventually.ts'
import { onEveryStorage, storageUrl } from '../../fixtures/storages.ts'
import { SyncPeer } from '../../fixtures/sync-peer.ts'
import { startServer } from './server.ts'

/** The events of a trace as they come; heartbeats left out. */
async function follow(t: Test, url: string, headers: { [name: string]: string } = {}) {
  const abort = new AbortController()
  const response = await fetch(url, { headers, signal: abort.signal })
  t.teardown(() => abort.abort())
  t.equal(response.status, 200)
  t.match(response.headers.get('content-type'), 'text/event-stream')
  const events: (SyncTraced | { type: 'revoked' | 'error' | 'traceEnd' })[] = []
  const read = async () => {
    let text = ''
    for await (const chunk of response.body?.pipeThrough(new TextDecoderStream()) ?? []) {
      text += chunk
      const lines = text.split('\n')
      text = lines.pop() ?? ''
      for (const line of lines) if (line.startsWith('data: ')) events.push(JSON.parse(line.slice(6)))
    }
  }
  const ended = read().catch(() => {})
  return { events, ended, close: () => abort.abort() }
}

const traced = (events: { type: string }[]) => events.filter((event): event is SyncTraced => event.type === 'traced')

t.test('the messages of a space and of a connection, on whichever instance', (t) =>
  onEveryStorage(t, async (t, kind) => {
    const target = await storageUrl(t, kind)
    const here = await startServer(t, target)
    const there = kind === 'redis' ? await startServer(t, target) : here
    const peer = await SyncPeer.connect(t, `${there.ws}?space=app`)
    await peer.next()
    const [node] = there.app.sync.nodes()
    const space = await follow(t, `${here.url}/sync/trace?space=app`)
    const one = await follow(t, `${here.url}/sync/trace?node=${node?.id}`)
    await eventually(() => there.app.sync.hub.traces.active)
    let seq = 0
    await eventually(async () => {
      peer.send({ type: 'write', seq: ++seq, ops: [{ op: 'set', key: 'k', value: 'secret' }] })
      await peer.next()
      return traced(space.events).length > 1 && traced(one.events).length > 1
    })
    for (const { events } of [space, one]) {
      t.match(traced(events)[0], {
        ...{ direction: 'received', node: node?.id, instance: there.app.storage.instanceId },
        message: { type: 'write', ops: [{ op: 'set', key: 'k', value: { type: 'string', bytes: 8 } }] },
      })
      t.notMatch(JSON.stringify(events), /secret/)
    }
    space.close()
    one.close()
    await eventually(() => [here, there].every(({ app }) => !app.sync.hub.traces.active))
    t.pass('and nothing looks any more')
  }),
)

t.test('it names one thing that there is', async (t) => {
  const { app } = await startServer(t, 'memory:')
  const status = async (query: string) => (await app.inject(`/sync/trace${query}`)).statusCode
  t.equal(await status('?node=none'), 404)
  t.equal(await status(''), 400)
  t.equal(await status('?node=a&space=b'), 400)
  t.equal(await status('?space=a/b'), 400)
  t.equal(app.sync.hub.traces.active, false)
  const ends = Array.from({ length: 16 }, () => app.sync.trace({ space: 'app' }, () => {}))
  t.equal(await status('?space=app'), 429)
  for (const end of ends) end()
})

t.test('it is for those who may, and ends with their session', async (t) => {
  const app = await testApp(t)
  const url = `${await app.listen({ host: '127.0.0.1', port: 0 })}/sync/trace?space=app`
  t.equal((await fetch(url)).status, 401)
  t.equal((await fetch(url, { headers: { cookie: (await loggedInUser(app)).cookie } })).status, 403)
  const admin = await loggedIn(app)
  const trace = await follow(t, url, { cookie: admin.cookie })
  t.equal(app.sync.hub.traces.active, true)
  await admin({ method: 'POST', url: '/logout' })
  await trace.ended
  t.equal(trace.events.at(0)?.type, 'revoked')
  await eventually(() => !app.sync.hub.traces.active)
})

t.test('it ends by itself after five minutes', async (t) => {
  const { ManualClock } = await import('../../../plugins/support/manual-clock.ts')
  const clock = new ManualClock()
  const { app, url } = await startServer(t, 'memory:', { clock })
  const trace = await follow(t, `${url}/sync/trace?space=app`)
  for (let second = 0; second < 301; second += 10) {
    clock.advance(10_000)
    await new Promise(setImmediate)
  }
  await trace.ended
  t.match(trace.events.slice(-2), [{ type: 'traceEnd', reason: 'time' }, { type: 'error' }])
  t.equal(app.sync.hub.traces.active, false)
})

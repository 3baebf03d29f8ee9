import { tracingChannel } from 'node:diagnostics_channel'
import Fastify from 'fastify'
import t, { type Test } from 'tap'
import { WebSocket } from 'ws'
import { stateful } from '../../../plugins/stateful/index.ts'
import type { SyncFanOutEvent, TracingEvents } from '../../../plugins/support/tracing.ts'
import { syncRoutes } from '../../../routes/sync/index.ts'
import { testApp } from '../../fixtures/app.ts'
import { SECRET } from '../../fixtures/credentials.ts'
import { FrameReader } from '../../fixtures/frames.ts'

type Heard<Name extends keyof TracingEvents> = [published: string, event: TracingEvents[Name]][]

/** What a channel publishes until the test ends, each event as it stood then. */
function listen<Name extends keyof TracingEvents>(t: Test, name: Name): Heard<Name> {
  const heard: Heard<Name> = []
  const told = (published: string) => (event: object) => {
    heard.push([published, { ...event } as TracingEvents[Name]])
  }
  const channel = tracingChannel<unknown, TracingEvents[Name]>(name)
  const subscribers = {
    start: told('start'),
    end: told('end'),
    asyncStart: told('asyncStart'),
    asyncEnd: told('asyncEnd'),
    error: told('error'),
  }
  channel.subscribe(subscribers)
  t.teardown(() => channel.unsubscribe(subscribers))
  return heard
}

t.test('a load of the cache: its key, and whether it was stored; never its value', async (t) => {
  const app = await testApp(t)
  const heard = listen(t, 'fastify-stateful:cache.load')
  await Promise.all([1, 2].map(() => app.cache.getOrSet('a', () => ({ secret: 'kept' }))))
  await app.cache.getOrSet('a', () => 2)
  t.same(
    heard.map(([published]) => published),
    ['start', 'end', 'asyncStart', 'asyncEnd'],
    'one load for all who ask; a hit is none',
  )
  const event = { namespace: 'default', key: 'a', refresh: false }
  t.same(heard[0], ['start', event])
  t.same(heard[3], ['asyncEnd', { ...event, stored: true, result: undefined }])

  const away = new Error('away')
  await t.rejects(
    app.cache.namespace('other').getOrSet('b', () => Promise.reject(away)),
    away,
  )
  t.match(heard.at(-1), ['asyncEnd', { namespace: 'other', key: 'b', error: away }])
  t.notOk('stored' in (heard.at(-1)?.[1] ?? {}))

  heard.length = 0
  await app.cache.getOrSet('c', (context) => {
    context.skip()
    return 3
  })
  t.match(heard.at(-1), ['asyncEnd', { key: 'c', stored: false }])

  await app.cache.set('d', 1, { stale: '1h' })
  await app.cache.expire('d')
  heard.length = 0
  t.equal(await app.cache.getOrSet('d', () => 2, { stale: '1h' }), 1)
  t.match(heard[0], ['start', { key: 'd', refresh: true }])
})

t.test('a commit: where it stands then', async (t) => {
  const app = await testApp(t)
  const heard = listen(t, 'fastify-stateful:state.commit')
  const space = app.state.space('room')
  await space.set('k', 'a secret')
  t.match(heard[0], ['start', { space: 'room', kind: 'commit' }])
  const { epoch } = space
  t.same(heard.at(-1), [
    'asyncEnd',
    { space: 'room', kind: 'commit', epoch, revision: 1, operations: 1, result: undefined },
  ])
  await space.delete('nothing')
  t.same(heard.at(-1), ['asyncEnd', { space: 'room', kind: 'commit', result: undefined }], 'nothing to change')
  await space.restore({ state: { k: 1 } })
  t.match(heard.at(-1), ['asyncEnd', { kind: 'restore' }])
  await t.rejects(space.commit([{ op: 'set', key: 'k', value: 2 }], { guards: [{ key: 'k', revision: 99 }] }))
  t.match(heard.at(-1), ['asyncEnd', { error: { code: 'STATEFUL_STATE_CONFLICT' } }])
})

t.test('sessions: what became of them, and nothing that tells whose they are', async (t) => {
  const app = await testApp(t)
  const loads = listen(t, 'fastify-stateful:session.load')
  const saves = listen(t, 'fastify-stateful:session.save')
  const { handle } = await app.sessions.create('ada', { secret: 'kept' })
  t.same(saves.at(-1), ['asyncEnd', { operation: 'create', outcome: 'saved', result: undefined }])
  await app.sessions.get(handle)
  t.same(loads.at(-1), ['asyncEnd', { outcome: 'live', result: undefined }])
  await app.sessions.update(handle, { more: 1 })
  t.same(saves.at(-1), ['asyncEnd', { operation: 'save', outcome: 'saved', result: undefined }])
  await app.sessions.destroy(handle)
  await app.sessions.get(handle)
  t.match(loads.at(-1), ['asyncEnd', { outcome: /^(ended|unknown)$/ }])
  t.notMatch(JSON.stringify([loads, saves]), new RegExp(`ada|kept|${handle}`))
})

t.test('a fan-out: to how many, and nothing of the clients', async (t) => {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(stateful, { storage: 'memory:', secret: SECRET })
  await app.register(syncRoutes, { authorize: () => true })
  const address = await app.listen({ port: 0, host: '127.0.0.1' })
  const heard = listen(t, 'fastify-stateful:sync.fanout')
  await app.state.set('before', 1)
  const peers = [1, 2].map(() => new FrameReader(new WebSocket(`${address.replace('http', 'ws')}/sync?space=app`)))
  t.teardown(() => peers.map(({ socket }) => socket.terminate()))
  for (const peer of peers) await peer.next('fullSync')
  heard.length = 0
  const commits = await Promise.all([app.state.set('a', 'a secret'), app.state.set('b', 2)])
  for (const peer of peers) await peer.next('stateChange')
  const { epoch } = app.state
  const event: SyncFanOutEvent = { space: 'app', epoch, from: 2, to: 3, changes: 2 }
  t.equal(commits.length, 2)
  t.same(heard, [
    ['start', event],
    ['end', { ...event, recipients: 2, result: undefined }],
  ])
})

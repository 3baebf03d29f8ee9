import Fastify from 'fastify'
import t from 'tap'
import { WebSocket } from 'ws'
import { createClient, type WebSocketConstructor } from '../../../client/index.ts'
import { LoginThrottle, THROTTLE_RULES } from '../../../plugins/accounts/login-throttle.ts'
import { type CacheOptions, cache } from '../../../plugins/cache/index.ts'
import { CACHE_RULES } from '../../../plugins/cache/options.ts'
import { DRAINING_RULES, draining } from '../../../plugins/draining/index.ts'
import { serverOptions } from '../../../plugins/problems/index.ts'
import { PROCESS_ERROR_RULES, processErrors } from '../../../plugins/process-errors/index.ts'
import { responseCache } from '../../../plugins/response-cache/index.ts'
import { SECURITY_RULES, security } from '../../../plugins/security/index.ts'
import { session } from '../../../plugins/session/index.ts'
import { SESSION_RULES } from '../../../plugins/session/options.ts'
import { state } from '../../../plugins/state/index.ts'
import { STATE_RULES } from '../../../plugins/state/options.ts'
import { STATS_RULES, stats } from '../../../plugins/stats/index.ts'
import { storage } from '../../../plugins/storage/index.ts'
import { sync } from '../../../plugins/sync/index.ts'
import { SYNC_RULES } from '../../../plugins/sync/options.ts'
import { HEALTH_ROUTE_RULES, healthRoutes } from '../../../routes/health/index.ts'
import { syncRoutes } from '../../../routes/sync/index.ts'
import { SECRET } from '../../fixtures/session-app.ts'
import { onEveryStorage, storageUrl } from '../../fixtures/storages.ts'

const LONG = '60d'

/** `LONG` for each option of the table that is a duration and may be so long; the names of all others of them. */
function stretched(table: object, path: string, bounded: string[]): object {
  return Object.fromEntries(
    Object.entries(table).flatMap(([name, rule]): [string, unknown][] => {
      if (typeof rule !== 'function') return [[name, stretched(rule, `${path}.${name}`, bounded)]]
      if (codeOf(() => rule('1x', name)) !== 'STATEFUL_INVALID_DURATION') return []
      if (codeOf(() => rule(LONG, name)) === undefined) return [[name, LONG]]
      bounded.push(`${path}.${name}`)
      return []
    }),
  )
}

function codeOf(read: () => unknown): string | undefined {
  try {
    read()
    return undefined
  } catch (error) {
    return (error as { code: string }).code
  }
}

t.test('with every duration at 60 days nothing that waits for one happens at once', async (t) => {
  const bounded: string[] = []
  const long = (table: object, path: string) => stretched(table, path, bounded)
  const options = {
    cache: long(CACHE_RULES, 'cache') as CacheOptions,
    session: long({ ...SESSION_RULES, touch: () => {} }, 'session'),
    state: long(STATE_RULES, 'state'),
    sync: long(SYNC_RULES, 'sync'),
    stats: long(STATS_RULES, 'stats'),
    security: long(SECURITY_RULES, 'security'),
    draining: long(DRAINING_RULES, 'draining'),
    processErrors: long(PROCESS_ERROR_RULES, 'processErrors'),
    health: long(HEALTH_ROUTE_RULES, 'health'),
  }
  const throttling = long(THROTTLE_RULES, 'throttle')
  // What has a bound says so; all others are tried below.
  t.strictSame(bounded.sort(), ['state.pollInterval'])
  t.equal(
    codeOf(() => serverOptions({ requestTimeout: LONG })),
    'STATEFUL_INVALID_OPTION',
  )

  const overflows: string[] = []
  const note = (warning: Error) => {
    if (warning.name === 'TimeoutOverflowWarning') overflows.push(warning.message)
  }
  process.on('warning', note)
  t.teardown(() => process.off('warning', note))

  await onEveryStorage(t, async (t, kind) => {
    const app = Fastify({ forceCloseConnections: true })
    t.teardown(() => app.close())
    await app.register(storage, {
      storage: await storageUrl(t, kind),
      ...{ backup: { every: LONG }, recoveryTimeout: LONG },
    })
    await app.register(security, options.security)
    await app.register(session, { secret: SECRET, ...options.session })
    await app.register(cache, options.cache)
    await app.register(responseCache)
    await app.register(state, { ...options.state, ackTimeout: 500 })
    await app.register(sync, { ...options.sync, presenceInterval: '3s' })
    await app.register(stats, options.stats)
    await app.register(draining, options.draining)
    await app.register(processErrors, options.processErrors)
    await app.register(healthRoutes, options.health)
    await app.register(syncRoutes, { authorize: () => true })
    app.get('/cached', { config: { cache: { ttl: LONG, stale: LONG } } }, async () => ({ at: 1 }))
    app.get('/login', async (request) => request.login({ id: 'ada' }))
    const url = await app.listen({ host: '127.0.0.1', port: 0 })
    const throttle = new LoginThrottle(app.storage, { perAccount: 2, ...throttling })
    const guess = () => throttle.attempt({ account: 'ada', address: '10.0.0.1' }, async () => undefined)
    for (const _ of [1, 2]) t.equal(await guess(), undefined)
    await t.rejects(guess, { code: 'STATEFUL_TOO_MANY_ATTEMPTS', retryAfter: 60 * 24 * 60 * 60 })

    t.equal((await fetch(`${url}/health/ready`)).status, 200)
    t.equal((await fetch(`${url}/login`)).status, 200)
    for (const _ of [1, 2]) t.equal((await fetch(`${url}/cached`)).status, 200)
    const calls = { stale: LONG, softTimeout: LONG, timeout: LONG, negative: LONG, ttl: LONG }
    t.equal(await app.cache.getOrSet('k', () => 1, calls), 1)
    await app.cache.expire('k')
    t.equal(await app.cache.getOrSet('k', () => 2, calls), 2, 'the refresh is waited for')
    app.cache.writeBehind('default', () => {})
    await app.cache.setWithDelayedPersist('k', 3)
    await app.state.set('gone', 1, { ttl: 60 * 24 * 60 * 60 * 1_000 })
    const watched = app.state.watch('x', { progress: 60 * 24 * 60 * 60 * 1_000 })
    const next = watched.next()

    const client = createClient({ baseUrl: url, WebSocket: WebSocket as unknown as WebSocketConstructor })
    const replica = client.replica()
    await replica.ready()
    await replica.set('x', 1)
    t.equal((await next).value?.type, 'commit')
    await watched.return?.()
    await new Promise((resolve) => setTimeout(resolve, 50))
    t.equal(replica.status, 'live')
    t.equal(app.state.get('gone'), 1)
    t.equal(app.sync.nodes().length, 1)
    client.close()
    t.strictSame(overflows, [])
  })
})

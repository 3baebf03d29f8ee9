import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import type { SessionStore } from '../../../plugins/session/index.ts'
import { liveSigner } from '../../../plugins/session/request/signer.ts'
import { sessionStoreOn } from '../../../plugins/session/stores/on-storage.ts'
import { bucketOf, newToken, ownerOf } from '../../../plugins/session/token.ts'
import { openStorage, type Storage } from '../../../plugins/storage/index.ts'
import { eventually } from '../../fixtures/eventually.ts'
import { monitor } from '../../fixtures/redis-monitor.ts'
import { Browser, SECRET } from '../../fixtures/session-app.ts'
import { type StorageKind, storageKinds, storageUrl } from '../../fixtures/storages.ts'
import { loggedIn, MINUTE, POLICY, start, startEngine, type Target } from './world.ts'

const NEXT_SECRET = 'the next secret of these tests, long enough'

function guarantees(t: Test, kind: StorageKind, fresh: (t: Test) => Promise<Target>): void {
  t.test('1. what was revoked, rotated away or has expired is never revived, in whatever order', async (t) => {
    const { engine, sessions, clock, login } = await startEngine(t, await fresh(t))
    const ends = {
      revoked: ({ open }: Awaited<ReturnType<typeof login>>) => engine.end(open, 'test'),
      'all revoked': () => sessions.revokeUser('ada'),
      'rotated away': ({ open, token }: Awaited<ReturnType<typeof login>>) =>
        engine.begin(newToken(bucketOf(token)), {}, { userId: 'ada', former: open }),
      expired: async () => clock.advance(POLICY.idle),
    }
    for (const [name, end] of Object.entries(ends)) {
      for (const changing of [true, false]) {
        const use = ({ open }: Awaited<ReturnType<typeof login>>) =>
          engine.save(open, changing ? { ...open.texts, x: '1' } : open.texts).catch((error) => error.code as string)
        const what = `${name}, and then ${changing ? 'saved' : 'touched'}`
        const late = await login('ada')
        await end(late)
        t.equal(await use(late), changing ? 'STATEFUL_SESSION_REVOKED' : false, what)
        const racing = await login('ada')
        await Promise.all([use(racing), end(racing), use(racing)])
        await use(racing)
        for (const { token } of [late, racing]) t.not(typeof (await engine.open(token)), 'object', what)
      }
    }
  })

  t.test(
    '2. parallel requests keep what each changes; of one value the last write wins, or update() counts',
    async (t) => {
      const world = await start(t, await fresh(t))
      const browser = await loggedIn(world)
      const gate = world.gate('both')
      const both = [
        browser.clone().get('/set?key=x&value=1&gate=both'),
        browser.clone().get('/set?key=y&value=2&gate=both'),
      ]
      await gate.reached(2)
      gate.open()
      await Promise.all(both)
      t.match((await browser.get('/me')).json(), { x: 1, y: 2 })
      const lateGate = world.gate('late')
      const late = browser.clone().get('/set?key=x&value=3&gate=late')
      await lateGate.reached()
      await browser.get('/set?key=x&value=4')
      lateGate.open()
      await late
      t.match((await browser.get('/me')).json(), { x: 3 }, 'the last')
      await Promise.all(Array.from({ length: 10 }, () => browser.clone().get('/increment')))
      t.match((await browser.get('/me')).json(), { n: 10 })
    },
  )

  t.test('3. a value that was deleted is not restored by a stale request', async (t) => {
    const world = await start(t, await fresh(t))
    const browser = await loggedIn(world)
    await browser.get('/set?key=x&value=1')
    const gate = world.gate('stale')
    const stale = browser.clone().get('/set?key=y&value=2&gate=stale')
    await gate.reached()
    await browser.get('/remove')
    gate.open()
    await stale
    t.match((await browser.get('/me')).json(), { x: null, y: 2 })
  })

  t.test('4. lists and counts are those of the live sessions, wherever it was interrupted', async (t) => {
    const target = await fresh(t)
    const { engine, sessions, clock, login, store, storage: cut } = await startEngine(t, target)
    const before = await Promise.all(['ada', 'ada', 'grace'].map(login))
    const under = [
      ...['ada', 'grace', 'edsger'].map(login),
      sessions.revoke(before[0]?.open.id ?? ''),
      engine.begin(
        newToken(bucketOf(ownerOf('grace'))),
        {},
        { former: before[1]?.open as never, userId: 'grace', login: true },
      ),
    ]
    // The connection goes while all of that is on its way.
    if (cut.kind === 'redis') setImmediate(() => cut.client.servers.client.disconnect())
    await Promise.allSettled(under)
    let looking: SessionStore = store
    if (cut.kind === 'redis') {
      const again = await openStorage(target)
      t.teardown(() => again.close())
      looking = sessionStoreOn(again)
    }
    const now = clock.now()
    const live = await looking.all(now)
    t.ok(live.length > 0)
    for (const user of ['ada', 'grace', 'edsger']) {
      const owner = ownerOf(user)
      const expected = live.filter((one) => one.owner === owner).map(({ id }) => id)
      t.same((await looking.list(owner, now)).map(({ id }) => id).sort(), expected.sort(), user)
    }
    const owners = new Set(live.flatMap(({ owner }) => owner ?? []))
    t.same(await looking.count(now), { sessions: live.length, owners: owners.size })
    const end = now + POLICY.idle
    t.equal((await looking.sweep(end, 100)).length, live.length)
    t.same(await looking.count(end), { sessions: 0, owners: 0 })
    t.same(await looking.list(ownerOf('ada'), end), [])
  })

  t.test('5. a limit holds under 100 parallel logins; revokeUser ends what is on its way', async (t) => {
    const { engine, sessions, login } = await startEngine(t, await fresh(t), 5)
    await Promise.all(Array.from({ length: 100 }, () => login('ada')))
    t.equal((await sessions.list('ada')).length, 5)
    const answered = await Promise.all(Array.from({ length: 5 }, () => login('grace')))
    const rotations = answered.map(({ open, token }) =>
      engine.begin(newToken(bucketOf(token)), {}, { former: open, userId: 'grace' }).catch(() => undefined),
    )
    await Promise.all([...rotations, sessions.revokeUser('grace')])
    t.same(await sessions.list('grace'), [], 'neither the sessions from before nor what became of them')
    await Promise.all([login('grace'), sessions.revokeUser('grace'), login('grace')])
    t.ok((await sessions.list('grace')).length <= 2)
    for (const { token } of answered) t.not(typeof (await engine.open(token)), 'object')
  })

  t.test('6. neither use, nor a save, nor a rotation moves the absolute end', async (t) => {
    const world = await start(t, await fresh(t), { absolute: '1h' })
    const browser = await loggedIn(world)
    for (let n = 0; n < 5; n++) {
      world.clock.advance(10 * MINUTE)
      await browser.get('/me')
      await browser.get(`/set?key=x&value=${n}`)
      if (n % 2) await browser.get('/regenerate')
    }
    world.clock.advance(10 * MINUTE - 1)
    t.equal((await browser.clone().get('/me')).statusCode, 200)
    world.clock.advance(1)
    t.equal((await browser.get('/me')).statusCode, 401)
  })

  t.test('7. reading writes at most once in the touch interval, and sets no cookie otherwise', async (t) => {
    const world = await start(t, await fresh(t))
    const browser = await loggedIn(world)
    const commands = await commandsOf(world.app)
    for (let n = 0; n < 5; n++) t.equal((await browser.get('/me')).headers['set-cookie'], undefined)
    t.match(await world.app.sessions.stats(), { touches: 0, saves: 0, touchesSkipped: 5 })
    const read = await commandsOf(world.app)
    if (kind === 'redis') t.equal(read('get') - commands('get'), 5, 'one command a read')
    world.clock.advance(MINUTE)
    t.equal((await browser.get('/me')).cookies.length, 1)
    for (let n = 0; n < 5; n++) t.equal((await browser.get('/me')).headers['set-cookie'], undefined)
    const after = await commandsOf(world.app)
    t.match(await world.app.sessions.stats(), { touches: 1, saves: 0 })
    if (kind === 'redis') t.equal(after('set') - read('set'), 1)
  })

  t.test('8. whoever has the store and the source cannot make a cookie', async (t) => {
    const opened = await openStorage(await fresh(t))
    t.teardown(() => opened.close())
    const store = sessionStoreOn(opened)
    const world = await start(t, 'memory:', { store })
    const browser = await loggedIn(world)
    await browser.get('/set?key=x&value=1')
    const [, signed] = [...browser.cookies][0] as [string, string]
    const token = signed.slice(0, signed.indexOf('.'))
    const { handle } = (await world.app.sessions.list('ada'))[0] as { handle: string }
    const dump = await dumpOf(opened, store)
    t.ok(dump.includes(handle), 'it is the store that is looked at')
    t.notOk(dump.includes(token))
    t.notOk(dump.includes(token.slice(2)))
    // Even with the secret: what the store has is not what the cookie says.
    for (const forged of [liveSigner(SECRET).sign(handle), `${handle}.${signed.split('.')[1]}`, handle]) {
      const thief = new Browser(world.app)
      thief.cookies.set('sid', forged)
      t.equal((await thief.get('/me')).statusCode, 401)
    }
  })

  t.test('9. a parallel request with the cookie from before leaves the new one alone', async (t) => {
    for (const options of [{}, { rolling: true }, { saveUninitialized: true }]) {
      const world = await start(t, await fresh(t), { touch: 0, ...options })
      for (const change of ['/regenerate', '/login', '/logout']) {
        const browser = await loggedIn(world)
        const [early, late] = [browser.clone(), browser.clone()]
        const gate = world.gate('slow')
        const slow = early.get('/me?gate=slow')
        await gate.reached()
        await browser.get(change)
        gate.open()
        t.equal((await slow).headers['set-cookie'], undefined, `${JSON.stringify(options)} ${change}`)
        const later = await late.get('/me')
        const fresh = 'saveUninitialized' in options ? /./ : ''
        if (change === '/logout')
          t.match(later.cookies, [{ name: 'sid', value: fresh }], 'what has ended is taken away')
        else t.equal(later.headers['set-cookie'], undefined, 'and so does one that comes later')
        t.equal((await browser.get('/me')).statusCode, change === '/logout' ? 401 : 200)
      }
    }
    const secret = [SECRET]
    const world = await start(t, await fresh(t), { secret })
    const browser = await loggedIn(world)
    const late = browser.clone()
    secret.unshift(NEXT_SECRET)
    await browser.get('/regenerate')
    t.equal((await late.get('/me')).headers['set-cookie'], undefined, 'one that is signed with a former secret, too')
  })

  t.test('10. a change of secrets logs nobody out, live or by a restart', async (t) => {
    const target = await fresh(t)
    const secret = [SECRET]
    const world = await start(t, target, { secret })
    const browser = await loggedIn(world)
    const passive = browser.clone()
    secret.unshift(NEXT_SECRET)
    t.equal((await passive.get('/me')).statusCode, 200)
    t.not(passive.cookie, browser.cookie, 'it is signed anew')
    const fresher = await loggedIn(world)
    if (kind !== 'memory') {
      await world.app.close()
      const again = await start(t, target, { secret: [NEXT_SECRET, SECRET] })
      for (const former of [browser, passive, fresher]) {
        const returning = new Browser(again.app)
        returning.cookies = former.cookies
        t.equal((await returning.get('/me')).statusCode, 200)
      }
      return
    }
    secret.pop()
    t.equal((await fresher.get('/me')).statusCode, 200, 'what was signed since is not of the former secret')
    t.equal((await passive.get('/me')).statusCode, 200)
    t.equal((await browser.get('/me')).statusCode, 401, 'only who never came meanwhile has to log in')
  })

  t.test(
    '11. a store that fails or hangs is a 503 with the cookie untouched, and no cookie asks nothing',
    async (t) => {
      const opened = await openStorage(await fresh(t))
      t.teardown(() => opened.close())
      const store = sessionStoreOn(opened)
      const world = await start(t, 'memory:', { store, deadline: '1s' })
      const browser = await loggedIn(world)
      const { load, save } = store
      const answers = {
        refuses: () => Promise.reject(new Error('down')),
        'has no socket': () => Promise.reject(Object.assign(new Error('connect ENOENT'), { code: 'ENOENT' })),
        hangs: () => new Promise<never>(() => {}),
      }
      for (const [name, answer] of Object.entries(answers)) {
        for (const [url, method] of [
          ['/me', 'load'],
          ['/set?key=x&value=9', 'load'],
          ['/set?key=x&value=9', 'save'],
        ] as const) {
          let called = false
          store[method] = () => {
            called = true
            return answer()
          }
          const asked = browser.clone().get(url)
          await eventually(() => called)
          world.clock.advance(1_000)
          const response = await asked
          const what = `${method} ${name}: ${url}`
          t.match(response.json(), { status: 503, code: 'STATEFUL_STORAGE_UNAVAILABLE' }, what)
          t.ok(response.headers['retry-after'], what)
          t.equal(response.headers['set-cookie'], undefined, what)
          t.equal((await new Browser(world.app).get('/me')).statusCode, 401, 'an anonymous one is answered')
          Object.assign(store, { load, save })
          world.clock.advance(2_000)
        }
      }
      t.match((await browser.get('/me')).json(), { user: 'ada', x: null }, 'and nobody was logged out')
    },
  )

  t.test(
    '12. counting and sweeping do not grow with the sessions; nothing scans, nothing listens to keys',
    async (t) => {
      const { engine, sessions, clock, login, storage: opened } = await startEngine(t, await fresh(t))
      const cost = async (run: () => Promise<unknown>) => {
        const before = await total(opened)
        await run()
        return (await total(opened)) - before
      }
      await login('ada')
      const few = [await cost(() => sessions.count()), await cost(() => sessions.sweep())]
      const [server] = opened.kind === 'redis' ? opened.client.servers.all() : []
      const seen = server && (await monitor(t, server))
      await Promise.all(Array.from({ length: 60 }, (_, n) => login(`user-${n % 20}`)))
      t.same([await cost(() => sessions.count()), await cost(() => sessions.sweep())], few)
      const { token, open } = await login('ada')
      await engine.open(token)
      await engine.save(open, { ...open.texts, x: '1' })
      await sessions.list('ada')
      await sessions.revokeUser('user-1')
      clock.advance(POLICY.idle)
      t.equal(await sessions.sweep(), 59)
      t.equal(await sessions.count(), 0)
      if (!seen) return
      const heard = new Set((await seen()).map(({ name }) => name))
      t.ok(heard.has('get') && heard.has('evalsha'), [...heard].join(' '))
      for (const command of [
        'scan',
        'hscan',
        'sscan',
        'zscan',
        'keys',
        'psubscribe',
        'config',
        'flushdb',
        'smembers',
      ]) {
        t.notOk(heard.has(command), command)
      }
    },
  )

  t.test('13. a handler that throws saves nothing of what it changed', async (t) => {
    const world = await start(t, await fresh(t))
    const browser = await loggedIn(world)
    await browser.get('/set?key=x&value=1')
    t.equal((await browser.get('/boom')).statusCode, 500)
    t.match((await browser.get('/me')).json(), { x: 1 })
    const anonymous = new Browser(world.app)
    t.equal((await anonymous.get('/boom')).headers['set-cookie'], undefined)
    t.equal(await world.app.sessions.count(), 1)
  })
}

/** How often Redis was asked each command; 0 elsewhere. */
async function commandsOf({ storage }: FastifyInstance): Promise<(name: string) => number> {
  const stats = storage.kind === 'redis' ? await storage.client.info('commandstats') : ''
  return (name) => Number(new RegExp(`cmdstat_${name}:calls=(\\d+)`).exec(stats)?.[1] ?? 0)
}

async function total(storage: Storage): Promise<number> {
  if (storage.kind !== 'redis') return 0
  return Number(/total_commands_processed:(\d+)/.exec(await storage.client.info('stats'))?.[1])
}

/** Every byte that the storage keeps. */
async function dumpOf(storage: Storage, store: SessionStore): Promise<string> {
  if (storage.kind === 'memory') return JSON.stringify(await store.all(0))
  if (storage.kind === 'lmdb') {
    await storage.root.flushed
    return readFile(join(storage.directory, 'stateful.mdb'), 'latin1')
  }
  const { client } = storage.client.servers
  const keys = await client.keys('*')
  const dumps = await Promise.all(keys.map((key) => client.dumpBuffer(key)))
  return keys.join(' ') + dumps.map((dump) => dump?.toString('latin1')).join(' ')
}

for (const kind of storageKinds) {
  t.test(kind, async (t) => {
    // One server for all; each case gets a prefix of its own.
    const shared = kind === 'redis' ? await storageUrl(t, kind) : undefined
    let cases = 0
    guarantees(t, kind, async (t) => (shared ? { url: shared, prefix: `case${cases++}:` } : storageUrl(t, kind)))
  })
}

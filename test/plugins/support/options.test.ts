import { readFile } from 'node:fs/promises'
import fc from 'fast-check'
import Fastify, { type FastifyInstance, type FastifyPluginAsync } from 'fastify'
import t from 'tap'
import { ACCOUNT_RULES, accounts } from '../../../plugins/accounts/index.ts'
import { THROTTLE_RULES } from '../../../plugins/accounts/login-throttle.ts'
import { cache } from '../../../plugins/cache/index.ts'
import { CACHE_RULES } from '../../../plugins/cache/options.ts'
import { CONNECTION_LIMIT_RULES, connectionLimit } from '../../../plugins/connection-limit/index.ts'
import { DASHBOARD_RULES, dashboard } from '../../../plugins/dashboard/index.ts'
import { DOCUMENTATION_RULES, documentation } from '../../../plugins/documentation/index.ts'
import { DRAINING_RULES, draining } from '../../../plugins/draining/index.ts'
import { serverOptions } from '../../../plugins/problems/index.ts'
import { PROCESS_ERROR_RULES, processErrors } from '../../../plugins/process-errors/index.ts'
import { responseCache } from '../../../plugins/response-cache/index.ts'
import { RESPONSE_CACHE_RULES, ROUTE_RULES } from '../../../plugins/response-cache/options.ts'
import { CSRF_RULES, csrf } from '../../../plugins/security/csrf.ts'
import { SECURITY_RULES, security } from '../../../plugins/security/index.ts'
import { ExpressStore } from '../../../plugins/session/compat/express-store.ts'
import { session } from '../../../plugins/session/index.ts'
import { SESSION_RULES } from '../../../plugins/session/options.ts'
import { state } from '../../../plugins/state/index.ts'
import { STATE_RULES } from '../../../plugins/state/options.ts'
import { STATEFUL_RULES, stateful } from '../../../plugins/stateful/index.ts'
import { STATS_RULES, stats } from '../../../plugins/stats/index.ts'
import { STORAGE_RULES, storage } from '../../../plugins/storage/index.ts'
import { nearest, unknownOption } from '../../../plugins/support/option-names.ts'
import {
  asGiven,
  choice,
  duration,
  flag,
  origins,
  type Rules,
  readOptions,
  supplied,
  text,
  texts,
  wholeNumber,
} from '../../../plugins/support/options.ts'
import { sync } from '../../../plugins/sync/index.ts'
import { SYNC_RULES } from '../../../plugins/sync/options.ts'
import { AUTH_ROUTE_RULES, authRoutes } from '../../../routes/auth/index.ts'
import { cacheRoutes } from '../../../routes/cache/index.ts'
import { HEALTH_ROUTE_RULES, healthRoutes } from '../../../routes/health/index.ts'
import { sessionRoutes } from '../../../routes/sessions/index.ts'
import { STATE_ROUTE_RULES, stateRoutes } from '../../../routes/state/index.ts'
import { statsRoutes } from '../../../routes/stats/index.ts'
import { SYNC_ROUTE_RULES, syncRoutes } from '../../../routes/sync/index.ts'
import { USER_ROUTE_RULES, userRoutes } from '../../../routes/users/index.ts'
import { SECRET } from '../../fixtures/session-app.ts'

interface Example {
  count?: number
  none?: number
  wait?: number | string
  short?: number | string
  on?: boolean
  word?: 'one' | 'two'
  text?: string
  texts?: string[]
  origins?: string[]
  made?: () => number
  open?: { whatever: number }
  inner?: { deep?: { est?: number } }
}
const rules = {
  count: wholeNumber(5),
  none: wholeNumber(undefined, 0),
  wait: duration('1m'),
  short: duration(undefined, { least: 0, most: '1s' }),
  on: flag(false),
  word: choice(['one', 'two'], 'one'),
  text: text('t'),
  texts: texts(['a']),
  origins,
  made: supplied<() => number>(),
  open: asGiven<{ whatever: number }>(),
  inner: { deep: { est: wholeNumber(1) } },
} satisfies Rules<Example>
const read = (options: unknown) => readOptions(rules, options, 'x')

t.test('what is given, and else the defaults; without either, nothing', async (t) => {
  t.strictSame(read(undefined), {
    ...{ count: 5, wait: 60_000, on: false, word: 'one', text: 't', texts: ['a'], origins: [] },
    inner: { deep: { est: 1 } },
  })
  const made = () => 1
  const open = { whatever: 1 }
  const given = { count: 1, none: 0, wait: 1, short: 0, on: true, word: 'two', text: '', texts: ['b'], made, open }
  t.strictSame(read({ ...given, origins: ['https://a.example'], inner: { deep: { est: 2 } } }), {
    ...given,
    origins: ['https://a.example'],
    inner: { deep: { est: 2 } },
  })
})

t.test('each kind of option says in the same words what it must be', async (t) => {
  const wrong: [options: unknown, message: string][] = [
    [{ count: 0 }, "Option 'x.count' must be a whole number above 0, not 0."],
    [{ count: '5' }, "Option 'x.count' must be a whole number above 0, not '5'."],
    [{ count: Number.NaN }, "Option 'x.count' must be a whole number above 0, not NaN."],
    [{ count: 2 ** 53 }, "Option 'x.count' must be a whole number above 0, not 9007199254740992."],
    [{ count: null }, "Option 'x.count' must be a whole number above 0, not null."],
    [{ none: -1 }, "Option 'x.none' must be a whole number from 0, not -1."],
    [{ wait: 0 }, "Option 'x.wait' must be a duration above 0, not 0."],
    [{ short: '2s' }, "Option 'x.short' must be at most '1s', not '2s'."],
    [{ on: 'yes' }, "Option 'x.on' must be true or false, not 'yes'."],
    [{ word: 'three' }, "Option 'x.word' must be 'one' or 'two', not 'three'."],
    [{ word: Object.create(null) }, "Option 'x.word' must be 'one' or 'two', not an object."],
    [{ text: 1n }, "Option 'x.text' must be a text, not 1."],
    [{ text: Symbol('s') }, "Option 'x.text' must be a text, not Symbol(s)."],
    [{ texts: [''] }, "Option 'x.texts' must be a list of texts, none of them empty."],
    [{ origins: ['a.example'] }, "Option 'x.origins' must be a list of origins such as 'https://app.example.com'."],
    [{ made: 1 }, "Option 'x.made' must be a function or an object, not 1."],
    [{ inner: 5 }, "Option 'x.inner' must be an object of options, not 5."],
    [{ inner: { deep: [] } }, "Option 'x.inner.deep' must be an object of options, not a list."],
    [null, "Option 'x' must be an object of options, not null."],
  ]
  for (const [options, message] of wrong) {
    t.throws(() => read(options), { code: 'STATEFUL_INVALID_OPTION', message }, message)
  }
  t.throws(() => read({ wait: '1x' }), { code: 'STATEFUL_INVALID_DURATION', message: /'x\.wait' is '1x'/ })
})

t.test('a name that nobody knows is refused at every depth, with the one that was meant', async (t) => {
  const refused: [options: object, message: string][] = [
    [{ cuont: 1 }, "Unknown option 'x.cuont'. Did you mean 'x.count'?"],
    [{ Count: 1 }, "Unknown option 'x.Count'. Did you mean 'x.count'?"],
    [{ inner: { dep: {} } }, "Unknown option 'x.inner.dep'. Did you mean 'x.inner.deep'?"],
    [{ inner: { deep: { est_: 1 } } }, "Unknown option 'x.inner.deep.est_'. Did you mean 'x.inner.deep.est'?"],
    [{ inner: { deep: { maxBytes: 1 } } }, "Unknown option 'x.inner.deep.maxBytes'. Known are: est."],
    // Taken by Fastify from a plugin's options, and only there.
    [{ inner: { prefix: '/a' } }, "Unknown option 'x.inner.prefix'. Known are: deep."],
  ]
  for (const [options, message] of refused) t.throws(() => read(options), { code: 'STATEFUL_INVALID_OPTION', message })
  t.doesNotThrow(() => read({ prefix: '/a', logLevel: 'warn', logSerializers: {} }))
  t.equal(unknownOption({ a: 1 }, new Set()), "Unknown option 'a'. Known are: none.")
  t.ok((unknownOption({ ['x'.repeat(10_000)]: 1 }, new Set(['y']))?.length ?? 0) < 200)
})

/** Every option of the table, as the names that lead to it. */
function* pathsOf(table: object, path: readonly string[] = []): Generator<string[]> {
  for (const [name, rule] of Object.entries(table)) {
    yield [...path, name]
    if (typeof rule !== 'function') yield* pathsOf(rule, [...path, name])
  }
}

/** Names that may stand beside the last one of the path. */
const siblings = (table: object, path: readonly string[]): string[] =>
  Object.keys(
    path.slice(0, -1).reduce((at, name) => at[name] as Record<string, object>, table as Record<string, object>),
  )

/** One slip of a typist, after which it is no other option, and none is as near as the right one. */
const misspelt = (name: string, others: string[]): fc.Arbitrary<string> =>
  fc
    .tuple(
      fc.nat(name.length - 1),
      fc.constantFrom('leave out', 'add', 'mistake', 'swap'),
      fc.constantFrom(...'aeosty3'),
    )
    .map(([at, slip, letter]) => {
      const [before, after] = [name.slice(0, at), name.slice(at + 1)]
      if (slip === 'leave out') return before + after
      if (slip === 'add') return before + letter + name.slice(at)
      if (slip === 'mistake') return before + letter + after
      return before + after.slice(0, 1) + name[at] + after.slice(1)
    })
    .filter((made) => made !== '' && others.every((other) => nearest(made, [other]) === undefined || other === name))
    .filter((made) => made !== name && !['prefix', 'logLevel'].includes(made))

const nested = (path: readonly string[], value: unknown): object =>
  path.reduceRight((inner, name) => ({ [name]: inner }), value) as object

// biome-ignore lint/suspicious/noExplicitAny: a list of plugins with options of all kinds
type AnyPlugin = FastifyPluginAsync<any>
const everything = async (app: FastifyInstance) =>
  void (await app.register(stateful, { storage: 'memory:', secret: SECRET }))
const onMemory = async (app: FastifyInstance) => void (await app.register(storage, { storage: 'memory:' }))
const authorizing = { authorize: supplied() }

/** Each plugin, its table, and what stands before the names in its messages. */
const PLUGINS: [plugin: AnyPlugin, table: object, path: string, before?: (app: FastifyInstance) => Promise<void>][] = [
  [
    storage,
    { ...STORAGE_RULES, backup: { every: 1, keep: 1 }, storage: { url: 1, prefix: 1, redis: 1, cluster: 1 } },
    '',
  ],
  [session, SESSION_RULES, 'session.'],
  [cache, CACHE_RULES, 'cache.', onMemory],
  [state, { ...STATE_RULES, ack: { replicas: 1 } }, 'state.', onMemory],
  [sync, SYNC_RULES, 'sync.', everything],
  [stats, STATS_RULES, 'stats.', onMemory],
  [
    accounts,
    { ...ACCOUNT_RULES, bootstrap: { username: 1, password: 1 }, throttle: THROTTLE_RULES },
    'accounts.',
    onMemory,
  ],
  [stateful, STATEFUL_RULES, ''],
  [stateful, { cache: CACHE_RULES, session: SESSION_RULES, state: STATE_RULES, sync: SYNC_RULES }, ''],
  [responseCache, RESPONSE_CACHE_RULES, 'responseCache.', everything],
  [security, SECURITY_RULES, 'security.'],
  [csrf, CSRF_RULES, 'csrf.'],
  [documentation, DOCUMENTATION_RULES, 'documentation.'],
  [dashboard, DASHBOARD_RULES, 'dashboard.'],
  [draining, DRAINING_RULES, 'draining.'],
  [connectionLimit, CONNECTION_LIMIT_RULES, 'connectionLimit.'],
  [processErrors, PROCESS_ERROR_RULES, 'processErrors.', async (app) => void (await app.register(draining))],
]
const ROUTES: typeof PLUGINS = [
  [authRoutes, AUTH_ROUTE_RULES, 'authRoutes.'],
  [sessionRoutes, authorizing, 'sessionRoutes.'],
  [userRoutes, USER_ROUTE_RULES, 'userRoutes.'],
  [stateRoutes, STATE_ROUTE_RULES, 'stateRoutes.'],
  [cacheRoutes, authorizing, 'cacheRoutes.'],
  [syncRoutes, SYNC_ROUTE_RULES, 'syncRoutes.'],
  [statsRoutes, authorizing, 'statsRoutes.'],
  [healthRoutes, HEALTH_ROUTE_RULES, 'healthRoutes.'],
]
const withAccounts = async (app: FastifyInstance) => {
  await everything(app)
  await app.register(accounts, { bootstrap: false })
}

async function boot(plugin: AnyPlugin, options: object, before?: (app: FastifyInstance) => Promise<void>) {
  const app = Fastify()
  try {
    await before?.(app)
    await app.register(plugin, options)
    return undefined
  } catch (error) {
    return error as Error & { code?: string }
  } finally {
    await app.close()
  }
}

for (const [plugin, table, path, before] of [
  ...PLUGINS,
  ...ROUTES.map(([routes, rules, name]): (typeof PLUGINS)[number] => [routes, rules, name, withAccounts]),
]) {
  t.test(
    `one letter wrong in an option of ${path || 'storage or stateful'}: the boot says which was meant`,
    async (t) => {
      const all = [...pathsOf(table)]
      await fc.assert(
        fc.asyncProperty(
          fc.constantFrom(...all).chain((names) => {
            const name = names.at(-1) as string
            return misspelt(name, siblings(table, names)).map((made) => ({ names, made }))
          }),
          async ({ names, made }) => {
            const outer = names.slice(0, -1)
            const needed = plugin === stateful ? { storage: 'memory:', secret: SECRET } : {}
            const error = await boot(plugin, { ...needed, ...nested([...outer, made], 1) }, before)
            const inside = path + outer.map((name) => `${name}.`).join('')
            const message = `Unknown option '${inside}${made}'. Did you mean '${inside}${names.at(-1)}'?`
            if (error?.code === 'STATEFUL_INVALID_OPTION' && error.message === message) return
            throw new Error(`${message} expected, not ${error}`)
          },
        ),
        { numRuns: Math.min(2 * all.length, 60) },
      )
      t.pass(`${all.length} options`)
    },
  )
}

t.test('config.cache of a route, one letter wrong: the boot says which was meant', async (t) => {
  for (const [wrong, message] of [
    [{ tll: '1m' }, "Unknown option 'config.cache.tll'. Did you mean 'config.cache.ttl'?"],
    [{ ttl: '1m', tag: ['a'] }, "Unknown option 'config.cache.tag'. Did you mean 'config.cache.tags'?"],
    [{ ttl: '1m', shared: 'yes' }, "Option 'config.cache.shared' must be true or false, not 'yes'."],
    [{ ttl: '1x' }, /'config\.cache\.ttl' is '1x'/],
    [{ ttl: '1m', stale: 'x' }, /'config\.cache\.stale' is 'x'/],
  ] as [object, string | RegExp][]) {
    const app = Fastify()
    t.teardown(() => app.close())
    await everything(app)
    await app.register(responseCache)
    t.throws(() => app.get('/', { config: { cache: wrong } }, () => 'x'), { message })
  }
  t.ok([...pathsOf(ROUTE_RULES)].length > 5)
})

t.test('options of calls', async (t) => {
  const app = Fastify()
  t.teardown(() => app.close())
  await everything(app)
  app.post('/login', async (request) => {
    await request.login({ id: 'ada' }, { kep: true } as object)
  })
  await app.ready()
  const wrong = { tll: 1 } as object
  const load = () => 1
  const refused = { code: 'STATEFUL_INVALID_OPTION', message: "Unknown option 'tll'. Did you mean 'ttl'?" }
  await t.rejects(app.cache.set('k', 1, wrong), refused)
  await t.rejects(app.cache.setMany([['k', 1]], wrong), refused)
  await t.rejects(app.cache.getOrSet('k', load, wrong), refused)
  await t.rejects(app.cache.getOrSetMany(['k'], load, wrong), refused)
  await t.rejects(
    app.cache.setAndPersist('k', 1, () => t.fail('nothing is persisted'), wrong),
    refused,
  )
  app.cache.writeBehind('default', () => t.fail('nothing is persisted'))
  await t.rejects(app.cache.setWithDelayedPersist('k', 1, wrong), refused)
  t.throws(() => app.cache.wrap(load, wrong), refused)
  t.throws(() => app.cache.cached(wrong), refused)
  t.throws(() => app.cache.warmFrom('k*', load, wrong), refused)
  const commit = app.state.commit([{ op: 'set', key: 'k', value: 1 }], { guard: [] } as object)
  await t.rejects(commit, { message: "Unknown option 'guard'. Did you mean 'guards'?" })
  const applied = app.state.apply({ op: 'set', key: 'k', value: 1 }, { sec: 1 } as object)
  await t.rejects(applied, { message: "Unknown option 'sec'. Did you mean 'seq'?" })
  t.throws(() => app.state.watch('', { sinse: undefined } as object), { message: /Did you mean 'since'/ })
  await t.rejects(app.stats.collect({ scop: 'cluster' } as object), { message: /Did you mean 'scope'/ })
  t.equal((await app.inject({ method: 'POST', url: '/login' })).statusCode, 500)
  t.throws(() => new ExpressStore({ tll: 1 } as object), refused)
  t.throws(() => serverOptions({ requestTimout: 1 } as object), { message: /Did you mean 'requestTimeout'/ })
  t.equal(app.state.get('k'), undefined)
  t.equal(await app.cache.get('k'), undefined)
})

/** The names in the first column of the table that stands below this heading; `.idle` goes on where `clients.` did. */
async function documented(file: string, heading: RegExp): Promise<string[]> {
  const page = await readFile(new URL(`../../../${file}`, import.meta.url), 'utf8')
  const rest = page.slice(page.search(heading))
  const table = /(?:^\|.*\n)+/m.exec(rest)?.[0] ?? ''
  return table
    .split('\n')
    .slice(2)
    .flatMap((row) => {
      let group = ''
      return [...(row.split('|')[1] ?? '').matchAll(/`([\w.]+)`/g)].map(([, name = '']) => {
        if (!name.startsWith('.')) group = name.replace(/\.?\w+$/, '')
        return name.startsWith('.') ? group + name : name
      })
    })
}

t.test('each option that a table of the documentation names is one', async (t) => {
  const tables: [file: string, heading: RegExp, table: object][] = [
    ['docs/cache.md', /^## Options/m, CACHE_RULES],
    ['docs/response-cache.md', /^## Options/m, RESPONSE_CACHE_RULES],
    ['docs/response-cache.md', /^Of a route, in/m, ROUTE_RULES],
    ['docs/sessions.md', /^## Options/m, SESSION_RULES],
    ['docs/sessions.md', /^\| *`?(Option|throttle)?.*\n.*\n\| `perAccount`/m, THROTTLE_RULES],
    ['docs/state.md', /^\|.*\n.*\n\| `limits\.valueBytes`/m, { ...STATE_RULES, 'limits.keyBytes': 1 }],
    ['docs/state.md', /^\| `clients\.`/m, STATE_RULES.clients],
    [
      'README.md',
      /^\|.*\n.*\n\| `storage` +\| `'lmdb/m,
      {
        ...{ ...STATEFUL_RULES, session: SESSION_RULES, cache: CACHE_RULES, state: STATE_RULES },
        ...{ sync: SYNC_RULES, stats: STATS_RULES },
      },
    ],
  ]
  for (const [file, heading, table] of tables) {
    const known = new Set([...pathsOf(table)].map((names) => names.join('.')))
    const names = await documented(file, heading)
    t.ok(names.length > 5, `${file} ${heading}`)
    for (const name of names) t.ok(known.has(name), `${file}: ${name}`)
  }
  const told = new Set(await documented('docs/cache.md', /^## Options/m))
  for (const names of pathsOf(CACHE_RULES)) {
    const [leaf] = [names.join('.')]
    const group = [...pathsOf(CACHE_RULES)].some(
      (other) => other.length > names.length && other[0] === names[0] && names.length === 1,
    )
    if (!group && !['clock', 'random'].includes(leaf)) t.ok(told.has(leaf), `docs/cache.md has ${leaf}`)
  }
})

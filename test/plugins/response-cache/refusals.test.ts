import basicAuth from '@fastify/basic-auth'
import Fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest, type RouteOptions } from 'fastify'
import t, { type Test } from 'tap'
import { cache } from '../../../plugins/cache/index.ts'
import { type RouteCache, responseCache } from '../../../plugins/response-cache/index.ts'
import { session } from '../../../plugins/session/index.ts'
import { storage } from '../../../plugins/storage/index.ts'
import { type Random, seededRandom } from '../../fixtures/random.ts'
import { SECRET } from '../../fixtures/session-app.ts'

/**
 * Ten thousand requests with and without credentials, to routes with every kind of guard, each to an application with
 * the cache and to the same one without: nobody gets an answer whom the route without the cache would refuse, and
 * whoever gets one gets his own.
 */
const REQUESTS = 10_000
const SEED = Number(process.env['SEED'] ?? 20_261_129)
t.setTimeout(150_000)

const USERS = ['ada', 'bob', 'mallory'] as const
type User = (typeof USERS)[number]
/** Known to everybody; `mallory` may do nothing, and who is in here may not any more. */
const revoked = new Set<string>(['mallory'])

const SCHEMES = ['key', 'bearer', 'basic', 'cookie', 'team'] as const
type Scheme = (typeof SCHEMES)[number]
const HEADER = { key: 'x-api-key', bearer: 'authorization', basic: 'authorization', cookie: 'cookie', team: 'x-team' }

const basic = (user: string) => `Basic ${Buffer.from(`${user}:right`).toString('base64')}`
/** What somebody sends to be known; cookies are each application's own. */
const CREDENTIALS: Record<Exclude<Scheme, 'cookie'>, (user: string) => string> = {
  key: (user) => `key-${user}`,
  bearer: (user) => `Bearer token-${user}`,
  basic,
  team: (user) => `red-${user}`,
}

function whoAsks(request: FastifyRequest, scheme: Scheme): User | undefined {
  if (scheme === 'cookie') return request.session.user?.id as User | undefined
  return USERS.find((user) => request.headers[HEADER[scheme]] === CREDENTIALS[scheme](user))
}

const mayPass = (request: FastifyRequest, scheme: Scheme): boolean => {
  const user = whoAsks(request, scheme)
  return user !== undefined && !revoked.has(user)
}

const STYLES = ['sends', 'throws', 'calls back'] as const
type Hook = (request: FastifyRequest, reply: FastifyReply, ...rest: unknown[]) => unknown

/** The same guard in every form that hooks have; a preParsing hook is given the payload as well. */
function guardOf(app: FastifyInstance, scheme: Scheme, style: (typeof STYLES)[number], parsing: boolean): Hook {
  const refusal = () => Object.assign(new Error('who are you?'), { statusCode: 401 })
  if (style === 'calls back' || scheme === 'basic') {
    const check = (request: FastifyRequest, reply: FastifyReply, done: (error?: Error) => void) => {
      if (scheme === 'basic') app.basicAuth(request, reply, done as never)
      else done(mayPass(request, scheme) ? undefined : refusal())
    }
    if (!parsing) return check as unknown as Hook
    return ((request: FastifyRequest, reply: FastifyReply, payload: unknown, done: (e: unknown, p?: unknown) => void) =>
      check(request, reply, (error) => done(error ?? null, payload))) as unknown as Hook
  }
  const check = async (request: FastifyRequest, reply: FastifyReply) => {
    if (mayPass(request, scheme)) return undefined
    if (style === 'throws') throw refusal()
    return reply.code(401).send({ error: 'who are you?' })
  }
  if (!parsing) return check as unknown as Hook
  return (async (request: FastifyRequest, reply: FastifyReply, payload: unknown) =>
    (await check(request, reply)) ?? payload) as unknown as Hook
}

const STAGES = ['onRequest', 'preParsing', 'preValidation', 'preHandler'] as const
const LEVELS = ['route', 'scope', 'late'] as const
/** Who gets the same: all, all by the answer's own word, nobody else, whoever sends the same credential. */
const SHARING = ['shared', 'headers', 'own', 'named'] as const
type Sharing = (typeof SHARING)[number]

function cacheOf(sharing: Sharing, scheme: Scheme): RouteCache {
  if (sharing === 'shared') return { ttl: '10m', shared: true, query: ['q'] }
  if (sharing === 'headers') return { ttl: 'headers', shared: true }
  return { ttl: '10m', query: ['q'], ...(sharing === 'named' ? { vary: [HEADER[scheme]] } : {}) }
}

/** Whether the handler itself decides who may pass. */
const isInside = ({ config }: Partial<RouteOptions>): boolean =>
  (config as { inside?: boolean } | undefined)?.inside ?? false

interface Guarded {
  url: string
  scheme: Scheme
}

/** Every route of the test, the same in both applications. */
function routes(app: FastifyInstance): Guarded[] {
  const versions = new Map<string, number>()
  const all: Guarded[] = []
  const late = new Map<string, Hook>()
  const random = seededRandom(SEED)

  const add = (
    scope: FastifyInstance,
    url: string,
    scheme: Scheme,
    sharing: Sharing,
    options: Partial<RouteOptions>,
  ) => {
    const forAll = sharing === 'shared' || sharing === 'headers'
    all.push({ url, scheme })
    scope.route({
      ...options,
      method: ['GET', 'HEAD', 'PUT'],
      url,
      config: {
        cache: {
          ...cacheOf(sharing, scheme),
          // What the handler itself decides is cached with its answer: whoever decides anew has to say so.
          ...(isInside(options) ? { tags: (request) => [whoAsks(request, scheme) ?? 'nobody'] } : {}),
        },
      },
      handler: async (request, reply) => {
        if (isInside(options) && (request.validationError || !mayPass(request, scheme))) {
          return reply.code(403).send({ error: 'not you' })
        }
        const place = `${request.host} ${request.url}`
        if (request.method === 'PUT') versions.set(place, (versions.get(place) ?? 0) + 1)
        if (sharing === 'headers') reply.header('cache-control', 'public, max-age=600')
        reply.header('x-secret', `of ${url}`)
        return { secret: place, version: versions.get(place) ?? 0, for: forAll ? 'all' : whoAsks(request, scheme) }
      },
    })
  }

  for (const stage of STAGES) {
    for (const level of LEVELS) {
      for (const scheme of SCHEMES) {
        for (const sharing of SHARING) {
          // Nothing tells that this header says who asks: such a route has to name it.
          if (scheme === 'team' && sharing === 'own') continue
          const url = `/${stage}/${level}/${scheme}/${sharing}`
          const guard = guardOf(app, scheme, random.pick(STYLES), stage === 'preParsing')
          if (level === 'route') add(app, url, scheme, sharing, { [stage]: guard })
          if (level === 'late') {
            late.set(`${stage} ${url}`, guard)
            add(app, url, scheme, sharing, {})
          }
          if (level === 'scope') {
            app.register(async (scope) => {
              scope.addHook(stage as 'onRequest', guard as never)
              await scope.register(async (inner) => add(inner, url, scheme, sharing, {}))
            })
          }
        }
      }
    }
  }
  for (const scheme of SCHEMES) {
    const sharings: Sharing[] = scheme === 'team' ? ['named'] : ['own', 'named']
    for (const sharing of sharings) {
      add(app, `/inside/${scheme}/${sharing}`, scheme, sharing, { config: { inside: true } as object })
    }
  }
  const headers = {
    type: 'object',
    required: ['x-api-key'],
    properties: { 'x-api-key': { pattern: '^key-(ada|bob)$' } },
  }
  add(app, '/schema', 'key', 'shared', { schema: { headers } })
  add(app, '/attached', 'key', 'named', {
    schema: { headers },
    attachValidation: true,
    config: { inside: true } as object,
  })
  for (const stage of STAGES) {
    app.addHook(
      stage as 'onRequest',
      ((request: FastifyRequest, reply: FastifyReply, ...rest: [unknown]) => {
        const guard = late.get(`${stage} ${request.routeOptions.url}`)
        if (guard) return guard(request, reply, ...rest)
        const done = rest.at(-1) as (error: unknown, payload?: unknown) => void
        return stage === 'preParsing' ? done(null, rest[0]) : (done as () => void)()
      }) as never,
    )
  }
  return all
}

interface World {
  app: FastifyInstance
  guarded: Guarded[]
  cookies: Map<string, string>
}

async function world(t: Test, cached: boolean): Promise<World> {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(storage, { storage: 'memory:' })
  await app.register(session, { secret: SECRET, production: false })
  await app.register(cache, { l2: { timeout: '10s' } })
  if (cached) await app.register(responseCache)
  await app.register(basicAuth, {
    validate: async (username, password) => {
      if (password !== 'right' || !USERS.includes(username as User) || revoked.has(username)) throw new Error('no')
    },
  })
  app.get('/login/:user', async (request) => {
    await request.login({ id: (request.params as { user: string }).user })
    return 'in'
  })
  const guarded = routes(app)
  await app.ready()
  const cookies = new Map<string, string>()
  for (const user of USERS) {
    const { headers } = await app.inject(`/login/${user}`)
    cookies.set(user, String(headers['set-cookie']).split(';')[0] as string)
  }
  return { app, guarded, cookies }
}

interface Asked {
  method: 'GET' | 'HEAD' | 'PUT'
  url: string
  headers: Record<string, string>
  /** Whose cookie goes along. */
  cookie: string | undefined
}

function draw(random: Random, guarded: readonly Guarded[], tags: ReadonlyMap<string, string>): Asked {
  const { url: path, scheme } = random.pick(guarded)
  const url = `${path}${random.pick(['', '', '', '', '', '?q=1', '?q=2', '?x=1'])}`
  const headers: Record<string, string> = { host: random.pick(['a.example', 'a.example', 'b.example']) }
  const user = random.pick([undefined, undefined, 'ada', 'ada', 'ada', 'bob', 'bob', 'bob', 'mallory', 'nobody'])
  let cookie: string | undefined
  if (user !== undefined) {
    // Now and then in a way that this guard does not read.
    const way = random.chance(0.9) ? scheme : random.pick(SCHEMES)
    if (way === 'cookie') cookie = user
    else headers[HEADER[way]] = CREDENTIALS[way](user)
  }
  const etag = tags.get(url)
  if (etag && random.chance(0.2)) headers['if-none-match'] = etag
  if (random.chance(0.05)) headers['range'] = 'bytes=0-9'
  if (random.chance(0.15)) {
    headers['cache-control'] = random.pick(['no-cache', 'max-age=0', 'only-if-cached', 'max-stale', 'no-store'])
  }
  return {
    method: random.pick([...Array.from({ length: 14 }, () => 'GET' as const), 'HEAD', 'HEAD', 'PUT']),
    url,
    headers,
    cookie,
  }
}

function ask({ app, cookies }: World, { cookie, headers, ...rest }: Asked) {
  const sent = cookie === undefined ? headers : { ...headers, cookie: cookies.get(cookie) ?? 'sid=nobody' }
  return app.inject({ ...rest, headers: sent })
}

type Answer = Awaited<ReturnType<typeof ask>>

/** What is wrong with the answer of the cached route, beside that of the same route without the cache. */
function fault({ method, headers }: Asked, plain: Answer, got: Answer): string | undefined {
  const onlyStored = headers['cache-control'] === 'only-if-cached' && got.statusCode === 504
  if (plain.statusCode >= 400) {
    if (got.statusCode < 400) return 'it is refused without the cache'
    if (/secret/.test(got.body) || got.headers['x-secret'] !== undefined) return 'it is refused, but hears something'
    if (got.headers.etag !== undefined) return 'it is refused, but hears a tag'
    return got.statusCode === plain.statusCode || onlyStored ? undefined : 'it is refused in another way'
  }
  if (onlyStored) return undefined
  if (got.statusCode === 304) return headers['if-none-match'] === undefined ? 'it has not asked for a 304' : undefined
  if (got.statusCode === 206) return got.body === plain.body.slice(0, 10) ? undefined : 'another part'
  if (got.statusCode !== plain.statusCode) return 'another status'
  return method === 'HEAD' || got.body === plain.body ? undefined : 'another answer'
}

t.test(
  `no answer reaches somebody whom the route without the cache would refuse (seed ${SEED})`,
  { timeout: 150_000 },
  async (t) => {
    const [cached, plain] = [await world(t, true), await world(t, false)]
    t.ok(cached.guarded.length > 200, `${cached.guarded.length} guarded routes`)
    const random = seededRandom(SEED)
    const tags = new Map<string, string>()
    // Few of them at a time, so that they meet.
    let some = random.shuffle(cached.guarded).slice(0, 8)
    const count = { requests: 0, refused: 0, hits: 0, collapsed: 0, known: 0, parts: 0 }
    while (count.requests < REQUESTS) {
      if (random.chance(0.02)) some = random.shuffle(cached.guarded).slice(0, 8)
      if (random.chance(revoked.has('ada') ? 0.2 : 0.03)) {
        revoked[revoked.has('ada') ? 'delete' : 'add']('ada')
        await cached.app.cache.namespace('http').invalidateTags('ada')
      }
      const drawn = Array.from({ length: random.integer(1, 8) }, () => draw(random, some, tags))
      // What changes something goes alone: the order of two at once is nobody's to say.
      const batch = drawn.some(({ method }) => method === 'PUT') ? drawn.slice(0, 1) : drawn
      const answers = await Promise.all(batch.map((asked) => ask(cached, asked)))
      for (const [i, asked] of batch.entries()) {
        const got = answers[i] as Answer
        const expected = await ask(plain, asked)
        const wrong = fault(asked, expected, got)
        if (wrong) {
          const shown = JSON.stringify({
            request: count.requests + i,
            asked,
            got: [got.statusCode, got.headers, got.body],
          })
          throw new Error(`${wrong}: ${shown}, without the cache ${expected.statusCode} ${expected.body}`)
        }
        const status = `${got.headers['cache-status']}`
        if (expected.statusCode >= 400) count.refused++
        else if (status.includes('; hit')) count.hits++
        if (status.includes('; collapsed')) count.collapsed++
        if (got.statusCode === 304) count.known++
        if (got.statusCode === 206) count.parts++
        if (typeof got.headers.etag === 'string') tags.set(asked.url, got.headers.etag)
      }
      count.requests += batch.length
    }
    t.comment(JSON.stringify(count))
    t.ok(count.refused > 3_000, 'many are refused')
    t.ok(count.hits > 1_000, 'the cache has answered')
    t.ok(count.known > 50 && count.parts > 10, 'conditions and parts')
  },
)

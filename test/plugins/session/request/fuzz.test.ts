import { Agent, request as ask, type IncomingMessage } from 'node:http'
import { Readable } from 'node:stream'
import { setImmediate as turn } from 'node:timers/promises'
import Fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify'
import t, { type Test } from 'tap'
import { problems } from '../../../../plugins/problems/index.ts'
import { session } from '../../../../plugins/session/index.ts'
import { storage } from '../../../../plugins/storage/index.ts'
import { type Random, seededRandom } from '../../../fixtures/random.ts'
import { SECRET } from '../../../fixtures/session-app.ts'
import { storageUrl } from '../../../fixtures/storages.ts'

/**
 * Handlers that do whatever comes to mind with their session and their reply, and clients that send whatever comes to
 * theirs. The process lives, each request is answered with a status of the contract, and nobody is taken for another.
 */
const REQUESTS = Number(process.env['FUZZ_REQUESTS'] ?? 5_000)
const AT_ONCE = 16
const USERS = 12
const SEED = Number(process.env['FUZZ_SEED'] ?? 20_240_611)

interface Turn {
  request: FastifyRequest
  reply: FastifyReply
  random: Random
  user: string
}
type Step = (turn: Turn) => unknown
type Loose = Record<string, unknown>
const values = ({ request }: Turn) => (request.session ?? {}) as never as Loose
const cookieOf = (turn: Turn) => (values(turn)['cookie'] ?? {}) as Loose

const TEXTS = [
  '',
  'x',
  'Ω',
  'файл.txt',
  'a\r\nset-cookie: sid=evil',
  '\0',
  '\u{1F600}',
  'ä;b',
  '%',
  '%E0%A4%A',
  'a b',
  '"',
  '=',
  ';',
  ',',
  '../',
  '__proto__',
  'constructor',
  'x'.repeat(5_000),
  '\ud800',
]
const HEADER_NAMES = [
  'x-name',
  'bad name',
  '',
  'x-Ω',
  'set-cookie',
  'content-type',
  'location',
  'x\r\ny',
  'cache-control',
  'content-disposition',
  'content-length',
  'transfer-encoding',
  'trailer',
  '__proto__',
]
const circle: Loose = {}
circle['self'] = circle
const VALUES: unknown[] = [
  1n,
  circle,
  Number.NaN,
  -0,
  Symbol('s'),
  () => 1,
  undefined,
  null,
  new Map([[1, 2]]),
  new Date(Number.NaN),
  /x/,
  new Uint8Array(8),
  '\ud800',
  'x'.repeat(20_000),
  Object.create(null),
  { toJSON: () => 1n },
  {
    toJSON: () => {
      throw new Error('in toJSON')
    },
  },
  {
    get a() {
      throw new Error('in a getter')
    },
  },
  new Proxy(
    {},
    {
      ownKeys: () => {
        throw new Error('in a proxy')
      },
    },
  ),
  JSON.parse('{"__proto__": {"admin": true}}'),
  [[[[[]]]]],
  new Error('a value'),
  Promise.resolve(1),
  new WeakMap(),
  Infinity,
  [undefined, () => 1],
]
const VALUE_NAMES = [
  'seen',
  '',
  'cookie',
  'sessionId',
  '__proto__',
  'constructor',
  'save',
  'get',
  'loginCount',
  'lastActivity',
  'passport',
  'toJSON',
  'then',
  'Ω',
  'a.b',
  '$x',
  'encryptedSessionId',
  'isModified',
]
const COOKIE_NAMES = [
  'domain',
  'sameSite',
  'path',
  'expires',
  'maxAge',
  'originalMaxAge',
  'secure',
  'httpOnly',
  'partitioned',
  'priority',
  'encode',
  'other',
]
const COOKIE_VALUES: unknown[] = [
  ...TEXTS,
  Number.NaN,
  -1,
  0,
  1e20,
  null,
  undefined,
  'none',
  'None',
  'strict',
  true,
  false,
  new Date(0),
  new Date(Number.NaN),
  {},
  [],
  1n,
  Symbol('s'),
  () => 'x',
]

/** Steps that fail do so for the handler, unless it looks away. */
const STEPS: Record<string, Step> = {
  header: ({ reply, random }) =>
    reply.header(
      random.pick(HEADER_NAMES),
      random.pick<unknown>([...TEXTS, undefined, null, 1, ['a', 'b'], {}]) as string,
    ),
  headers: ({ reply, random }) => reply.headers({ [random.pick(HEADER_NAMES)]: random.pick(TEXTS) }),
  'raw header': ({ reply, random }) => reply.raw.setHeader(random.pick(HEADER_NAMES), random.pick(TEXTS)),
  'status text': ({ reply, random }) => {
    reply.raw.statusMessage = random.pick(TEXTS)
  },
  type: ({ reply, random }) => reply.type(random.pick(['text/plain', 'application/json', ...TEXTS])),
  cookie: ({ reply, random }) =>
    reply.setCookie(random.pick(['theme', 'sid', ...TEXTS]), random.pick(TEXTS), {
      path: random.pick(['/', ...TEXTS]),
    }),
  'clear cookie': ({ reply, random }) => reply.clearCookie(random.pick(['sid', 'theme'])),
  value: (turn) => {
    values(turn)[turn.random.pick(VALUE_NAMES)] = turn.random.pick(VALUES)
  },
  set: (turn) => turn.request.session.set(turn.random.pick(VALUE_NAMES) as never, turn.random.pick(VALUES) as never),
  count: (turn) => {
    values(turn)['count'] = Number(values(turn)['count'] ?? 0) + 1
  },
  remove: (turn) => {
    delete values(turn)[turn.random.pick(VALUE_NAMES)]
  },
  define: (turn) =>
    Object.defineProperty(turn.request.session, 'own', {
      enumerable: true,
      configurable: true,
      get: () => turn.random.pick(VALUES),
    }),
  freeze: (turn) => Object.freeze(turn.request.session),
  'cookie attribute': (turn) => {
    cookieOf(turn)[turn.random.pick(COOKIE_NAMES)] = turn.random.pick(COOKIE_VALUES)
  },
  options: (turn) =>
    turn.request.session.options({ [turn.random.pick(COOKIE_NAMES)]: turn.random.pick(COOKIE_VALUES) }),
  touch: ({ request }) => request.session.touch(),
  save: ({ request }) => request.session.save(),
  'save with a callback': ({ request, random }) =>
    request.session.save((error) => {
      if (random.chance(0.3)) throw error ?? new Error('in a callback')
    }),
  regenerate: ({ request, random }) =>
    request.session.regenerate(random.pick<string[]>([[], ['user', 'mark'], ['count']]) as never),
  'regenerate with a callback': ({ request, random }) =>
    request.session.regenerate(() => {
      if (random.chance(0.3)) throw new Error('in a callback')
    }),
  reload: ({ request }) => request.session.reload(),
  update: ({ request, random }) =>
    (request.session.update as (key: string, change: () => unknown) => unknown)('count', () => {
      if (random.chance(0.3)) throw new Error('in a change')
      return random.pick(VALUES)
    }),
  destroy: ({ request }) => request.session.destroy(),
  login: ({ request, user }) => request.login({ id: user }),
  'login of nobody': ({ request, random }) =>
    request.login(random.pick<unknown>([null, undefined, {}, '', [], { id: {} }, { id: Number.NaN }, () => 1, circle])),
  'login with options': ({ request, user, random }) =>
    request.login(
      { id: user },
      random.pick<object>([
        { lifetime: '14d' },
        { idle: '1h' },
        { lifetime: 'x' },
        { keep: ['mark'] },
        { other: 1 },
      ]) as never,
    ),
  logout: ({ request }) => request.logout(),
  'no session': ({ request }) => {
    request.session = null as never
  },
  'another session': ({ request, random }) => {
    request.session = random.pick<unknown>([{}, undefined, 1, [], { ...request.session }]) as never
  },
  wait: () => turn(),
  error: ({ random }) => {
    throw random.pick<unknown>([
      new Error('thrown'),
      'text',
      null,
      undefined,
      1,
      { statusCode: 418 },
      Object.assign(new Error('teapot'), { statusCode: 418 }),
      Object.assign(new Error('odd'), { statusCode: 9_000 }),
      Object.assign(new Error('ok?'), { statusCode: 200 }),
      Object.freeze(new Error('frozen')),
    ])
  },
  status: ({ reply, random }) => reply.code(random.pick([200, 201, 204, 302, 304, 404, 410, 500, 503])),
}

/** A callback that failed has answered already, perhaps. */
function endRaw({ raw }: FastifyReply) {
  if (!raw.writableEnded) raw.end('raw')
}

async function* parts(random: Random, failing: boolean) {
  for (const part of ['a', 'b', 'c']) {
    if (random.chance(0.5)) await turn()
    if (failing && random.chance(0.4)) throw new Error('in a stream')
    yield part
  }
}

/** `cut`: whoever asked may find the connection cut instead of an answer. */
const ENDINGS: Record<string, { end: Step; cut?: true }> = {
  text: { end: () => 'text' },
  object: { end: ({ request }) => ({ user: (request.session as { user?: { id: string } } | null)?.user?.id ?? null }) },
  nothing: { end: () => undefined },
  null: { end: () => null },
  buffer: { end: () => Buffer.from('buffer') },
  'a value that is none': { end: ({ random }) => random.pick(VALUES) },
  send: {
    end: ({ reply }) => {
      reply.send('sent')
    },
  },
  'send and return': { end: ({ reply }) => reply.send({ sent: true }) },
  'send twice': {
    end: ({ reply }) => {
      reply.send('first')
      reply.code(404).header('x-second', '1').send('second')
    },
  },
  'send and throw': {
    end: ({ reply }) => {
      reply.send('first')
      throw new Error('afterwards')
    },
  },
  'send and throw later': {
    end: async ({ reply }) => {
      reply.send('first')
      await turn()
      throw new Error('afterwards')
    },
  },
  'send later': {
    end: ({ reply }) => {
      setImmediate(() => reply.send('later'))
      return reply
    },
  },
  redirect: { end: ({ reply, random }) => reply.redirect(random.pick(['/', ...TEXTS])) },
  'redirect and throw': {
    end: ({ reply }) => {
      reply.redirect('/')
      throw new Error('afterwards')
    },
  },
  'not modified': { end: ({ reply }) => reply.code(304).send() },
  'no content': { end: ({ reply }) => reply.code(204).send() },
  stream: { end: ({ random }) => Readable.from(parts(random, false)) },
  'failing stream': { end: ({ random }) => Readable.from(parts(random, true)), cut: true },
  'destroyed stream': { end: () => Readable.from(['a']).destroy(), cut: true },
  'stream and throw': {
    end: ({ reply, random }) => {
      reply.send(Readable.from(parts(random, false)))
      throw new Error('afterwards')
    },
    cut: true,
  },
  // Fastify answers a HEAD with none itself.
  'web response': { end: ({ request }) => (request.method === 'HEAD' ? 'web' : new Response('web', { status: 201 })) },
  'used response': {
    end: async () => {
      const response = new Response('used')
      await response.text()
      return response
    },
    cut: true,
  },
  hijack: {
    end: ({ reply }) => {
      reply.hijack()
      endRaw(reply)
    },
    cut: true,
  },
  'hijack and throw': {
    end: ({ reply }) => {
      reply.hijack()
      endRaw(reply)
      throw new Error('afterwards')
    },
    cut: true,
  },
  'hijack and cut': {
    end: ({ reply }) => {
      reply.hijack()
      reply.raw.destroy()
    },
    cut: true,
  },
  cut: {
    end: ({ reply }) => {
      reply.raw.destroy()
      return 'too late'
    },
    cut: true,
  },
  'raw and send': {
    end: ({ reply }) => {
      reply.raw.writeHead(200)
      reply.raw.write('raw')
      return 'more'
    },
    cut: true,
  },
  'send an error': { end: ({ reply }) => reply.send(new Error('sent')) },
  'no such route': { end: ({ reply }) => reply.callNotFound() },
  error: { end: STEPS['error'] as Step },
}

interface Plan {
  steps: { name: string; waited: boolean; caught: boolean }[]
  ending: string
  /** A hook of the application that fails. */
  hook: string | undefined
}

function planOf(random: Random): Plan {
  const names = Object.keys(STEPS)
  const steps = Array.from({ length: random.integer(0, 4) }, () => ({
    name: random.pick(names),
    waited: random.chance(0.7),
    caught: random.chance(0.7),
  }))
  const hook = random.chance(0.1)
    ? random.pick(['preValidation', 'preHandler', 'preSerialization', 'onError', 'sends'])
    : undefined
  return { steps, ending: random.pick(Object.keys(ENDINGS)), hook }
}

async function act(plan: Plan, turn: Turn): Promise<unknown> {
  for (const { name, waited, caught } of plan.steps) {
    try {
      const made = (STEPS[name] as Step)(turn)
      if (!waited || made === turn.reply) continue
      const pending = Promise.resolve(made)
      await (caught ? pending.catch(() => {}) : pending)
    } catch (error) {
      if (!caught) throw error
    }
  }
  return (ENDINGS[plan.ending] as { end: Step }).end(turn)
}

interface World {
  url: string
  plans: Map<number, Plan>
  confused: string[]
}

async function serve(t: Test, target: string): Promise<World> {
  const app = Fastify({ forceCloseConnections: true })
  t.teardown(() => app.close())
  const plans = new Map<number, Plan>()
  const confused: string[] = []
  await app.register(problems)
  await app.register(storage, { storage: target })
  await app.register(session, { secret: SECRET, production: false, maxSessions: 5 })
  const numberOf = (request: FastifyRequest) => Number((request.query as { n?: string }).n)
  const failing = (request: FastifyRequest, hook: string) => plans.get(numberOf(request))?.hook === hook

  app.post('/in', async (request) => {
    const user = String(request.headers['x-user'])
    await request.login({ id: user }, { keep: false })
    ;(request.session as never as Loose)['mark'] = user
    return { user }
  })
  const routes = async (scope: FastifyInstance) => {
    for (const hook of ['preValidation', 'preHandler', 'preSerialization'] as const) {
      scope.addHook(hook, async (request: FastifyRequest, reply: FastifyReply) => {
        if (failing(request, hook)) throw new Error(`in ${hook}`)
        // A guard that answers, and does not return its reply.
        if (hook === 'preHandler' && failing(request, 'sends')) {
          ;(request.session as never as Loose)['refused'] = 1
          reply.code(401).send('refused')
        }
      })
    }
    scope.addHook('onError', (request, _reply, _error, done) => {
      if (failing(request, 'onError')) throw new Error('in onError')
      done()
    })
    scope.route({
      method: ['GET', 'POST'],
      url: '/act',
      handler: (request, reply) => {
        const n = numberOf(request)
        const plan = plans.get(n) as Plan
        const user = String(request.headers['x-user'])
        if (plan.hook === 'sends') confused.push(`${n}: the handler ran, though a guard had answered`)
        const { user: found, mark } = request.session as never as { user?: { id: string }; mark?: string }
        if (found && found.id !== user) confused.push(`${n}: ${user} was taken for ${found.id}`)
        if (mark !== undefined && mark !== user) confused.push(`${n}: ${user} saw what is ${mark}'s`)
        return act(plan, { request, reply, random: seededRandom(SEED + n), user })
      },
    })
  }
  await app.register(routes, { prefix: '/problems' })
  await app.register(
    async (scope) => {
      scope.setErrorHandler((error, request, reply) => {
        if (request.session) (request.session as never as Loose)['flash'] = String((error as Error | null)?.message)
        if (numberOf(request) % 5 === 0) throw error
        reply.redirect('/problems')
      })
      await routes(scope)
    },
    { prefix: '/own' },
  )
  return { url: await app.listen({ port: 0, host: '127.0.0.1' }), plans, confused }
}

interface Answer {
  status: number
  type: string
  text: string
  cookies: string[]
}

/** @returns what is answered; `cut` when the connection was, `hung` when nothing came */
function send(
  url: string,
  options: { method: string; headers: Record<string, string>; agent: Agent; abort: boolean },
): Promise<Answer | 'cut' | 'hung'> {
  const { abort, ...rest } = options
  return new Promise((resolve) => {
    const outgoing = ask(url, { ...rest, insecureHTTPParser: false, timeout: 2_000 })
    outgoing.on('timeout', () => {
      resolve('hung')
      outgoing.destroy()
    })
    outgoing.on('error', () => resolve('cut'))
    outgoing.on('close', () => resolve('cut'))
    outgoing.on('response', (response: IncomingMessage) => {
      let text = ''
      response.setEncoding('utf8')
      response.on('data', (part) => {
        text += part
      })
      response.on('error', () => resolve('cut'))
      response.on('end', () => {
        const { statusCode: status = 0, headers } = response
        resolve({ status, type: headers['content-type'] ?? '', text, cookies: headers['set-cookie'] ?? [] })
      })
    })
    outgoing.end()
    if (abort) setImmediate(() => outgoing.destroy())
  })
}

const DECLARED = new Set([200, 201, 204, 302, 304, 401, 403, 404, 409, 410, 418, 500, 503])

/** What a browser of this user, or something worse, sends as its cookies. */
function cookieHeader(random: Random, own: string): string | undefined {
  const hostile = () =>
    random.pick([
      'sid=',
      'sid',
      '=',
      ';;;',
      'sid=%',
      'sid=forged.signature',
      'sid="quoted"',
      `sid=${'x'.repeat(4_000)}`,
      'sid=\u00ff\u00fe',
      '__proto__=1',
      'sid=a.b.c',
      `${own}x`,
      own.slice(0, -3),
      own.replace('.', ''),
      'sid=s%3Ax.y',
      'a=b',
    ])
  const which = random.next()
  if (which < 0.6) return own
  if (which < 0.65) return undefined
  if (which < 0.85) return random.shuffle([own, hostile(), hostile()]).join('; ')
  return random.chance(0.5) ? hostile() : [hostile(), hostile()].join(';')
}

async function fuzz(t: Test, target: string) {
  const escaped: unknown[] = []
  const note = (error: unknown) => escaped.push(error)
  process.on('unhandledRejection', note).on('uncaughtException', note)
  t.teardown(() => process.off('unhandledRejection', note).off('uncaughtException', note))

  const world = await serve(t, target)
  // A connection each: what a handler does to its own (a wrong length, bytes of its own) is not another request's.
  const agent = new Agent({ keepAlive: false })
  const random = seededRandom(SEED)
  const jars = new Map<string, string>()
  const wrong: string[] = []
  const statuses = new Map<number | string, number>()

  const keep = (user: string, cookies: string[]) => {
    for (const line of cookies) {
      const [pair = ''] = line.split(';')
      if (!pair.startsWith('sid=')) continue
      if (pair === 'sid=') jars.delete(user)
      else jars.set(user, pair)
    }
  }
  async function login(user: string): Promise<string> {
    const answer = await send(`${world.url}/in`, { method: 'POST', headers: { 'x-user': user }, agent, abort: false })
    if (typeof answer === 'string' || answer.status !== 200) throw new Error(`login: ${JSON.stringify(answer)}`)
    keep(user, answer.cookies)
    return jars.get(user) as string
  }

  async function one(n: number) {
    const own = random.fork()
    const plan = planOf(own)
    world.plans.set(n, plan)
    const user = `user-${own.integer(1, USERS)}`
    const cookie = cookieHeader(own, jars.get(user) ?? (await login(user)))
    const scope = own.pick(['problems', 'own'])
    const method = own.pick(['GET', 'GET', 'POST', 'HEAD'])
    const abort = own.chance(0.05)
    const headers = { 'x-user': user, ...(cookie === undefined ? {} : { cookie }) }
    const answer = await send(`${world.url}/${scope}/act?n=${n}`, { method, headers, agent, abort })
    const told = `${n} ${method} ${scope} ${JSON.stringify(plan)}: ${JSON.stringify(answer).slice(0, 300)}`
    statuses.set(
      typeof answer === 'string' ? answer : answer.status,
      (statuses.get(typeof answer === 'string' ? answer : answer.status) ?? 0) + 1,
    )
    if (answer === 'hung' && mayHang(plan)) statuses.set('left alone', (statuses.get('left alone') ?? 0) + 1)
    else if (answer === 'hung') wrong.push(`hung: ${told}`)
    else if (answer === 'cut') {
      if (!abort && !mayCut(plan)) wrong.push(`cut: ${told}`)
    } else {
      keep(user, answer.cookies)
      if (answer.cookies.some((line) => line.startsWith('sid=evil'))) wrong.push(`a header was smuggled in: ${told}`)
      if (!DECLARED.has(answer.status)) wrong.push(`status: ${told}`)
      const isProblem = answer.type.startsWith('application/problem+json')
      if (answer.status === 500 && scope === 'problems' && method !== 'HEAD' && !isProblem && !mayFailTwice(plan)) {
        wrong.push(`no problem: ${told}`)
      }
    }
    world.plans.delete(n)
    if (escaped.length > 0) wrong.push(`escaped ${(escaped.splice(0)[0] as Error)?.stack ?? 'something'}: near ${told}`)
  }

  let next = 0
  const worker = async () => {
    while (next < REQUESTS && wrong.length < 10) await one(next++)
  }
  await Promise.all(Array.from({ length: AT_ONCE }, worker))
  await turn()
  t.comment(
    `seed ${SEED}: ${[...statuses]
      .sort()
      .map(([status, count]) => `${status} ×${count}`)
      .join(', ')}`,
  )
  t.strictSame(wrong, [], `seed ${SEED}`)
  t.strictSame(world.confused, [], 'nobody was taken for another')
  t.strictSame(escaped, [], 'nothing reached the process')
}

/** A length or an encoding that is none ends the connection at the client. */
function mayCut({ steps, ending }: Plan): boolean {
  return ENDINGS[ending]?.cut === true || steps.some(({ name }) => name === 'type' || name.includes('header'))
}

const HARMLESS = new Set([
  'count',
  'touch',
  'wait',
  'remove',
  'clear cookie',
  'text',
  'object',
  'nothing',
  'null',
  'send',
])

/**
 * Whether a 500 need be no problem document: a handler may have chosen it, or something fails for the answer that tells
 * of the first failure as well, which Fastify answers by itself. A hook of the application does that, so does a cookie
 * that cannot be written (@fastify/cookie keeps it, and offers no way to take it back), and so may any two failures.
 */
function mayFailTwice({ steps, ending, hook }: Plan): boolean {
  const parts = [...steps.map(({ name }) => name), ending, ...(hook === undefined ? [] : [hook])]
  if (['preSerialization', 'status', 'cookie'].some((name) => parts.includes(name))) return true
  return parts.filter((name) => !HARMLESS.has(name)).length > 1
}

/** What a handler has taken over is answered by itself or not at all. */
function mayHang({ ending }: Plan): boolean {
  return ending.startsWith('hijack')
}

for (const kind of ['memory', 'redis'] as const) {
  t.test(`handlers and clients at their worst: ${kind}`, async (t) => fuzz(t, await storageUrl(t, kind)))
}

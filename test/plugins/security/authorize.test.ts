import type { FastifyRequest } from 'fastify'
import t from 'tap'
import { ACTIONS, type Action, type Resource } from '../../../plugins/security/access.ts'
import { accessRules, authorizeByRole, demand, keysOf } from '../../../plugins/security/authorize.ts'
import type { SessionUser } from '../../../plugins/session/user.ts'

const requestOf = (user?: SessionUser) => ({ session: { user } }) as unknown as FastifyRequest

const of = (who: string) => Object.entries(ACTIONS).flatMap(([action, { allowed }]) => (allowed === who ? action : []))
const READS = of('session') as Action[]
const SHOWN = of('observer') as Action[]
const PRIVILEGED = of('administrator') as Action[]
const APP = { space: 'app', key: 'k' }
const allowed = (user: SessionUser | undefined, action: Action, resource: Resource = APP) =>
  authorizeByRole(requestOf(user), action, resource)

t.test('by default every session reads and the administrator does everything', async (t) => {
  for (const action of Object.keys(ACTIONS) as Action[]) {
    t.notOk(await allowed(undefined, action), `anonymous ${action}`)
    t.ok(await allowed({ id: 'a', role: 'administrator' }, action), `administrator ${action}`)
  }
  for (const action of READS) t.ok(await allowed({ id: 'u', role: 'user' }, action), `user ${action}`)
  for (const action of [...SHOWN, ...PRIVILEGED])
    t.notOk(await allowed({ id: 'u', role: 'user' }, action), `user ${action}`)
})

t.test('an observer sees what an administrator sees, and changes nothing of others', async (t) => {
  const observer = { id: 'o', role: 'observer' }
  for (const action of [...READS, ...SHOWN]) t.ok(await allowed(observer, action), action)
  for (const action of PRIVILEGED) t.notOk(await allowed(observer, action), action)
  t.notOk(await allowed(observer, 'users:write', { userId: 'u' }))
  const changes = (Object.keys(ACTIONS) as Action[]).filter((action) =>
    /:(write|restore|disconnect|invalidate|warm|retry|reset|administer|revoke|create)$/.test(action),
  )
  t.ok(changes.length > 10)
  for (const action of changes) t.not(ACTIONS[action].allowed, 'observer', `${action} changes something`)
})

t.test('users change what is theirs, not what is others’', async (t) => {
  t.ok(await allowed({ id: 'u', role: 'user' }, 'users:write', { userId: 'u' }))
  t.notOk(await allowed({ id: 'u', role: 'user' }, 'users:write', { userId: 'v' }))
  t.notOk(await allowed({ id: 'u', role: 'user' }, 'users:write'))
})

t.test('a role is compared whole: nothing but administrator is one', async (t) => {
  for (const role of ['Administrator', 'administrator ', '', '__proto__', 'admin']) {
    t.notOk(await allowed({ id: 'u', role }, 'state:write'), JSON.stringify(role))
  }
})

t.test('a refusal tells whether a session is missing or not enough', async (t) => {
  await t.rejects(demand(undefined, requestOf(), 'state:write', APP), {
    code: 'STATEFUL_UNAUTHENTICATED',
    statusCode: 401,
  })
  await t.rejects(demand(undefined, {} as FastifyRequest, 'state:write', APP), { code: 'STATEFUL_UNAUTHENTICATED' })
  await t.rejects(demand(undefined, requestOf({ id: 'u' }), 'state:write', APP), {
    code: 'STATEFUL_FORBIDDEN',
    statusCode: 403,
    message: /state:write/,
  })
  await demand(undefined, requestOf({ id: 'a', role: 'administrator' }), 'state:write', APP)
})

t.test('an application’s own rule replaces the default, synchronous or not, and sees the resource', async (t) => {
  const seen: unknown[] = []
  const rule = async (_request: FastifyRequest, action: Action, resource: Resource) => {
    seen.push([action, resource])
    return resource.space === 'public'
  }
  await demand(rule, requestOf(), 'state:write', { space: 'public', key: 'k' })
  await t.rejects(demand(rule, requestOf(), 'state:write', APP), { code: 'STATEFUL_UNAUTHENTICATED' })
  await t.rejects(
    demand(() => false, requestOf({ id: 'a', role: 'administrator' }), 'stats:read', { scope: 'instance' }),
    { code: 'STATEFUL_FORBIDDEN' },
  )
  t.match(seen[0], ['state:write', { space: 'public', key: 'k' }])
})

t.test('rules by action: each gets its own resource, the others are decided as by default', async (t) => {
  const rule = accessRules({
    'state:read': (_request, { key }) => key.startsWith('public:'),
    'state:snapshot': async () => false,
  })
  t.ok(await rule(requestOf(), 'state:read', { space: 'app', key: 'public:x' }))
  t.notOk(await rule(requestOf({ id: 'a', role: 'administrator' }), 'state:read', { space: 'app', key: 'secret' }))
  t.notOk(await rule(requestOf({ id: 'a', role: 'administrator' }), 'state:snapshot', { space: 'app' }))
  t.ok(await rule(requestOf({ id: 'u', role: 'user' }), 'state:history', { space: 'app' }))
  t.notOk(await rule(requestOf({ id: 'u', role: 'user' }), 'state:write', APP))
  t.ok(await accessRules({ otherwise: () => true })(requestOf(), 'state:write', APP))
  t.throws(() => accessRules({ 'state:reed': () => true } as never), { code: 'STATEFUL_INVALID_OPTION' })
  accessRules({
    // @ts-expect-error a key has no prefix
    'state:read': (_request, { prefix }) => prefix.startsWith('a'),
  })
})

t.test('a refusal tells the action', async (t) => {
  for (const request of [requestOf(), requestOf({ id: 'u' })]) {
    const refusal = await demand(undefined, request, 'state:write', APP).catch((error: unknown) => error)
    t.match(refusal, { action: 'state:write' })
  }
})

t.test('a key and a prefix are told apart, and what is no text is neither', async (t) => {
  t.same(keysOf('app', { key: 'a', prefix: 'b' }), { space: 'app', key: 'a' }, 'as subscriptions do it')
  t.same(keysOf('app', { prefix: 'b' }), { space: 'app', prefix: 'b' })
  for (const other of [undefined, null, ['a', 'b'], 1, {}]) {
    t.same(keysOf('app', { key: other, prefix: other }), { space: 'app', prefix: '' })
  }
})

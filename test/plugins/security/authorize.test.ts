import type { FastifyRequest } from 'fastify'
import t from 'tap'
import { type Action, authorizeByRole, demand, keysOf, type Resource } from '../../../plugins/security/authorize.ts'
import type { SessionUser } from '../../../plugins/session/user.ts'

const requestOf = (user?: SessionUser) => ({ session: { user } }) as unknown as FastifyRequest

const READS: Action[] = ['state:read', 'cache:read', 'sync:read', 'users:read']
const PRIVILEGED: Action[] = [
  'state:write',
  'cache:write',
  'sync:write',
  'sync:administer',
  'stats:read',
  'stats:reset',
  'sessions:administer',
  'docs:read',
  'dashboard:read',
]
const APP = { space: 'app', prefix: '' }
const allowed = (user: SessionUser | undefined, action: Action, resource: Resource = APP) =>
  authorizeByRole(requestOf(user), action, resource)

t.test('by default every session reads and the administrator does everything', async (t) => {
  for (const action of [...READS, ...PRIVILEGED, 'users:write'] as Action[]) {
    t.notOk(await allowed(undefined, action), `anonymous ${action}`)
    t.ok(await allowed({ id: 'a', role: 'administrator' }, action), `administrator ${action}`)
  }
  for (const action of READS) t.ok(await allowed({ id: 'u', role: 'user' }, action), `user ${action}`)
  for (const action of PRIVILEGED) t.notOk(await allowed({ id: 'u', role: 'user' }, action), `user ${action}`)
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

t.test('a key and a prefix are told apart, and what is no text is neither', async (t) => {
  t.same(keysOf('app', { key: 'a', prefix: 'b' }), { space: 'app', key: 'a' }, 'as subscriptions do it')
  t.same(keysOf('app', { prefix: 'b' }), { space: 'app', prefix: 'b' })
  for (const other of [undefined, null, ['a', 'b'], 1, {}]) {
    t.same(keysOf('app', { key: other, prefix: other }), { space: 'app', prefix: '' })
  }
})

/** A host whose schemas are called as things of ours are. */
import { Type } from '@sinclair/typebox'
import type { FastifyInstance } from 'fastify'
import t from 'tap'
import * as schemas from '../../../openapi/schemas/index.ts'
import { documentation } from '../../../plugins/documentation/index.ts'
import { ADMIN_PASSWORD } from '../../fixtures/credentials.ts'
import { type Document, newHost, useStateful } from './host.ts'

const ours = Object.values(schemas).filter((one): one is (typeof schemas)['User'] => typeof one === 'object')
/** `User`, `Problem`, `StateEntry`: what anybody would call them. */
const namesakes = ours.map(({ $id = '' }) => $id.replace(/^Stateful/, ''))

/** Says something else under each of them. */
async function ownSchemas(app: FastifyInstance) {
  for (const $id of namesakes) app.addSchema(Type.Object({ own: Type.Literal($id) }, { $id }))
  for (const $id of namesakes) {
    app.get(`/own/${$id}`, { schema: { response: { 200: Type.Ref($id) } } }, async () => ({ own: $id, more: 1 }))
  }
}

for (const order of ['before', 'after'] as const) {
  t.test(`own schemas of all our names, ${order} us`, async (t) => {
    const app = newHost(t)
    if (order === 'before') await ownSchemas(app)
    await app.register(documentation)
    await useStateful(app)
    if (order === 'after') await ownSchemas(app)
    await app.ready()

    const payload = { username: 'admin', password: ADMIN_PASSWORD }
    const login = await app.inject({ method: 'POST', url: '/login', payload })
    t.match(login.json(), { user: { username: 'admin' }, loginCount: 1 }, 'ours answer what they did')
    const [cookie] = login.cookies
    const headers = { cookie: `${cookie?.name}=${encodeURIComponent(cookie?.value ?? '')}` }
    t.match((await app.inject({ url: `/users/${login.json().user.id}`, headers })).json(), { username: 'admin' })
    t.match((await app.inject('/state')).json(), { code: 'STATEFUL_UNAUTHENTICATED', status: 401 })
    for (const $id of namesakes) t.strictSame((await app.inject(`/own/${$id}`)).json(), { own: $id }, 'and theirs')

    const { components } = app.swagger() as unknown as Document
    for (const $id of namesakes) t.match(components.schemas[$id], { properties: { own: { const: $id } } }, $id)
    t.ok(components.schemas['StatefulUser'])
  })
}

const clash = { code: 'STATEFUL_NAME_CLASH', message: /'StatefulUser' \(theirs\).*'stateful-users-routes'/s }
const Theirs = Type.Object({}, { $id: 'StatefulUser', title: 'theirs' })

t.test('a schema that is called as ours are ends the boot, with both names', async (t) => {
  const before = newHost(t)
  before.addSchema(Theirs)
  await t.rejects(useStateful(before), clash, 'registered before')

  const after = newHost(t)
  await useStateful(after)
  t.throws(() => after.addSchema(Theirs), { message: /'StatefulUser' already declared/ }, 'by Fastify, around ours')

  const beside = newHost(t)
  await beside.register(documentation)
  await useStateful(beside)
  await beside.register(async (scope) => scope.addSchema(Theirs))
  await t.rejects(async () => beside.ready(), clash, 'in a scope beside ours: the document would have one of both')
})

t.test('ours can be referred to', async (t) => {
  const { User, reference, useSchemas } = schemas
  const app = newHost(t)
  await app.register(documentation)
  useSchemas(app, User)
  app.get('/team', { schema: { response: { 200: Type.Array(reference(User)) } } }, async () => [
    { id: '1', username: 'ada', role: 'user', password: 'secret' },
  ])
  app.get('/lead', { schema: { response: { 200: Type.Ref('StatefulUser') } } }, async () => ({
    ...{ id: '1', username: 'ada', role: 'user', password: 'secret' },
  }))
  await useStateful(app)
  await app.ready()
  t.strictSame((await app.inject('/team')).json(), [{ id: '1', username: 'ada', role: 'user' }])
  t.strictSame((await app.inject('/lead')).json(), { id: '1', username: 'ada', role: 'user' })
  t.match((app.swagger() as unknown as Document).paths['/lead'], {
    get: {
      responses: {
        200: { content: { 'application/json': { schema: { $ref: '#/components/schemas/StatefulUser' } } } },
      },
    },
  })
})

t.test('an operation that is called as one of ours ends the boot, with both', async (t) => {
  const theirs = (app: FastifyInstance, operationId: string, hide = false) =>
    app.get('/theirs', { schema: { operationId, hide } }, async () => 'theirs')
  const host = async (operationId: string, hide = false) => {
    const app = newHost(t)
    await app.register(documentation)
    await useStateful(app)
    // A scope of its own, as those of plugins are.
    await app.register(async (scope) => theirs(scope, operationId, hide))
    return app.ready()
  }
  await t.rejects(host('getStateSnapshot'), {
    code: 'STATEFUL_NAME_CLASH',
    message: /'getStateSnapshot' \(GET \/theirs\).*'GET \/state\/snapshot'/s,
  })
  await t.resolves(host('getTheirs'))
  await t.resolves(host('getStateSnapshot', true), 'what is in no document clashes with nothing')
})

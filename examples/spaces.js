/**
 * Who sees a space is data: each has an owner and members, kept in a space of their own that no client reaches.
 *
 *   npm run build && node examples/spaces.js
 *   curl -c ada -X POST localhost:3000/enter/ada && curl -b ada -X POST localhost:3000/spaces/plans
 *   curl -b ada -X PUT -H 'content-type: application/json' -d '{"value":1}' 'localhost:3000/state/keys/a?space=plans'
 *   curl -b ada -X PUT localhost:3000/spaces/plans/members/bob
 */
import Fastify from 'fastify'
import { accessRules, stateful, stateRoutes, syncRoutes } from 'fastify-stateful'

const app = Fastify({ logger: true })
await app.register(stateful, {
  storage: process.env.STORAGE ?? 'memory:',
  secret: process.env.SESSION_SECRET ?? 'only for this example: nothing else is signed by it',
  session: { production: false },
})

/** Space → { owner, members }. Its name is refused to every client below: it has no owner. */
const visibility = app.state.space('visibility')
await visibility.ready

const userOf = (request) => request.session.user?.id

/** Whether the request is of the space's owner. */
const owner = (request, { space }) => {
  const user = userOf(request)
  return user !== undefined && visibility.get(space)?.owner === user
}
/** Whether it is of its owner or one of its members. */
const members = (request, resource) =>
  owner(request, resource) || (visibility.get(resource.space)?.members ?? []).includes(userOf(request))

const authorize = accessRules({
  'state:describe': members,
  'state:list': members,
  'state:read': members,
  'state:snapshot': members,
  'state:write': members,
  'sync:read': members,
  'sync:write': members,
  'presence:read': members,
  'presence:write': members,
  // What was deleted is in the history, and a restore replaces everybody's work.
  'state:history': owner,
  'state:restore': owner,
  otherwise: () => false,
})
await app.register(stateRoutes, { authorize })
await app.register(syncRoutes, { authorize })

// Whoever says a name is taken at their word here; yours asks for a password.
app.post('/enter/:user', async (request) => {
  await request.login({ id: request.params.user })
  return { user: userOf(request) }
})

app.post('/spaces/:space', async (request, reply) => {
  const user = userOf(request)
  if (user === undefined) return reply.code(401).send()
  const { space } = request.params
  // Of two who want one name, one gets it.
  const made = await visibility.compareAndSet(space, 0, { owner: user, members: [] })
  return made ? reply.code(201).send({ space, owner: user }) : reply.code(409).send()
})

app.put('/spaces/:space/members/:user', async (request, reply) => {
  const { space, user } = request.params
  if (!owner(request, { space })) return reply.code(403).send()
  await visibility.update(space, (known) => ({ ...known, members: [...new Set([...known.members, user])] }))
  return reply.code(204).send()
})

for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => app.close())
await app.listen({ port: Number(process.env.PORT ?? 3000) })

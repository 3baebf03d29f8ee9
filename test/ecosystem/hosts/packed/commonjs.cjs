/** A host in CommonJS, as `node commonjs.cjs`: tells what it found as one line of JSON. */
const Fastify = require('fastify')
const swagger = require('@fastify/swagger')
const { Type } = require('@sinclair/typebox')
const stateful = require('fastify-stateful')
const { reference, User, useSchemas } = require('fastify-stateful/schemas')

async function main() {
  const app = Fastify(stateful.serverOptions())
  await app.register(swagger, { openapi: { openapi: '3.1.0', info: { title: 'Shop', version: '2.1.0' } } })
  await app.register(stateful.documentation)
  await app.register(stateful.default, {
    storage: 'memory:',
    secret: process.env.SECRET,
    session: { production: false },
  })
  await app.register(stateful.accounts, { bootstrap: { password: process.env.PASSWORD } })
  await app.register(stateful.authRoutes, { prefix: '/api' })
  await app.register(stateful.syncRoutes, { prefix: '/api' })
  useSchemas(app, User)
  app.get('/team', { schema: { response: { 200: Type.Array(reference(User)) } } }, async () => [])
  const url = await app.listen({ port: 0, host: '127.0.0.1' })
  const login = await fetch(`${url}/api/login`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ username: 'admin', password: process.env.PASSWORD }),
  })
  const cookie = login.headers.get('set-cookie').split(';')[0]
  const profile = await fetch(`${url}/api/sync/nodes`, { headers: { cookie } })
  const document = await (await fetch(`${url}/openapi.json`)).json()
  const sockets = await (await fetch(`${url}/asyncapi.json`)).json()
  process.stdout.write(
    JSON.stringify({
      login: login.status,
      nodes: (await profile.json()).nodes,
      title: document.info.title,
      paths: Object.keys(document.paths),
      security: document.paths['/api/sync/nodes'].get.security,
      address: sockets.channels.sync.address,
    }),
  )
  await app.close()
}

main()

/** A host whose plugins and routes are files of two folders, by @fastify/autoload, under prefixes. */
import { fileURLToPath } from 'node:url'
import autoload from '@fastify/autoload'
import t from 'tap'
import { ADMIN_PASSWORD } from '../../fixtures/credentials.ts'
import { type Document, newHost } from './host.ts'

const folder = (name: string) => fileURLToPath(new URL(`autoload/${name}`, import.meta.url))

t.test('folders are prefixes, in the routes and in the documents', async (t) => {
  const app = newHost(t)
  await app.register(autoload, { dir: folder('plugins'), forceESM: true })
  await app.register(autoload, { dir: folder('routes'), forceESM: true, options: { prefix: '/v1' } })
  await app.ready()

  const payload = { username: 'admin', password: ADMIN_PASSWORD }
  const login = await app.inject({ method: 'POST', url: '/v1/account/login', payload })
  t.equal(login.statusCode, 200)
  const [cookie] = login.cookies
  const headers = { cookie: `${cookie?.name}=${encodeURIComponent(cookie?.value ?? '')}` }
  const put = { method: 'PUT', url: '/v1/live/state/keys/theme', headers, payload: { value: 'dark' } } as const
  t.match((await app.inject(put)).json(), { key: 'theme', value: 'dark' })
  t.strictSame((await app.inject('/v1/orders/orders')).json(), [{ id: 'o1' }])

  const { info, paths } = (await app.inject('/openapi.json')).json() as Document
  t.equal(info.title, 'Shop')
  for (const path of ['/v1/account/login', '/v1/live/state/keys/{key}', '/v1/live/sync/events', '/v1/orders/orders']) {
    t.ok(paths[path], path)
  }
  t.match((await app.inject('/asyncapi.json')).json(), { channels: { sync: { address: '/v1/live/sync' } } })
})

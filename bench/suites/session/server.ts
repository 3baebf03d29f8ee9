/**
 * The same two routes by each contender: `server.ts <contender> <storage> [URL of Redis]`.
 * `POST /login?user=` begins a session, `GET /profile` tells who it belongs to and is 401 without one.
 */
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import fastifyCookie from '@fastify/cookie'
import fastifySession, { type FastifySessionOptions } from '@fastify/session'
import { RedisStore } from 'connect-redis'
import express from 'express'
import expressSession, { MemoryStore } from 'express-session'
import Fastify, { type FastifyInstance } from 'fastify'
import { Redis } from 'ioredis'
import { createClient } from 'redis'
import { build } from '../../../app.ts'
import { session } from '../../../plugins/session/index.ts'
import { storage } from '../../../plugins/storage/index.ts'
import { profileOf } from './profile.ts'

const [kind = '', where = '', url = ''] = process.argv.slice(2)
const secret = 'a secret of the benchmark with more than 32 characters'
const cookie = { secure: false, httpOnly: true, sameSite: 'lax', maxAge: 86_400_000 } as const

declare module 'express-session' {
  interface SessionData {
    profile: ReturnType<typeof profileOf>
  }
}
declare module 'fastify' {
  interface Session {
    profile?: ReturnType<typeof profileOf>
  }
}

async function ours(): Promise<string> {
  const app = Fastify()
  await app.register(storage, { storage: where === 'redis' ? url : 'memory:' })
  await app.register(session, { secret, cookie, production: false })
  app.post<{ Querystring: { user: string } }>('/login', async (request) => {
    await request.login({ id: request.query.user })
    request.session.profile = profileOf(request.query.user)
    return { done: true }
  })
  return serveProfile(app)
}

async function fastifySessionServer(): Promise<string> {
  const app = Fastify()
  await app.register(fastifyCookie)
  await app.register(fastifySession, {
    secret,
    cookie,
    rolling: false,
    saveUninitialized: false,
    ...(where === 'redis' ? { store: (await connectRedis()) as unknown as FastifySessionOptions['store'] } : {}),
  } as FastifySessionOptions)
  app.post<{ Querystring: { user: string } }>('/login', async (request) => {
    await request.session.regenerate()
    request.session.profile = profileOf(request.query.user)
    return { done: true }
  })
  return serveProfile(app)
}

/** What cannot be saved: HTTP, the cookie, and for Redis one command for the record. */
async function limit(): Promise<string> {
  const app = Fastify()
  await app.register(fastifyCookie)
  const records = new Map<string, string>()
  const client = where === 'redis' ? new Redis(url, { enableAutoPipelining: true }) : undefined
  app.post<{ Querystring: { user: string } }>('/login', async (request, reply) => {
    const { user } = request.query
    const record = JSON.stringify(profileOf(user))
    if (client) await client.set(user, record)
    else records.set(user, record)
    reply.setCookie('sid', user)
    return { done: true }
  })
  app.get('/profile', async (request, reply) => {
    const id = request.cookies['sid'] ?? ''
    const record = client ? await client.get(id) : records.get(id)
    if (!record) return reply.code(401).send({ refused: true })
    return JSON.parse(record)
  })
  return app.listen({ host: '127.0.0.1', port: 0 })
}

async function expressServer(): Promise<string> {
  const app = express()
  app.use(
    expressSession({
      secret,
      cookie,
      resave: false,
      saveUninitialized: false,
      rolling: false,
      store: where === 'redis' ? await connectRedis() : new MemoryStore(),
    }),
  )
  app.post('/login', (request, response, next) => {
    request.session.regenerate((error) => {
      if (error) return next(error)
      request.session.profile = profileOf(String(request.query['user']))
      response.json({ done: true })
    })
  })
  app.get('/profile', (request, response) => {
    if (request.session.profile) response.json(request.session.profile)
    else response.status(401).json({ refused: true })
  })
  const server = createServer(app)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

async function connectRedis(): Promise<RedisStore> {
  const client = createClient({ url })
  await client.connect()
  return new RedisStore({ client })
}

function serveProfile(app: FastifyInstance): Promise<string> {
  app.get('/profile', async (request, reply) => {
    return request.session.profile ?? reply.code(401).send({ refused: true })
  })
  return app.listen({ host: '127.0.0.1', port: 0 })
}

/** All of the reference server, whose `GET /profile` tells of the login, too. */
async function reference(): Promise<string> {
  const app = await build({ storage: 'memory:', secret, adminPassword: 'a password of the benchmark' })
  app.post<{ Params: { user: string } }>('/as/:user', async (request) => {
    const { user } = request.params
    await request.login({ id: user, username: user, role: 'user' })
    return { done: true }
  })
  return app.listen({ host: '127.0.0.1', port: 0 })
}

const contenders: Record<string, () => Promise<string>> = {
  'fastify-stateful': ours,
  '@fastify/session': fastifySessionServer,
  'express-session': expressServer,
  limit,
  reference,
}

const start = contenders[kind]
if (!start) throw new Error(`no contender '${kind}'`)
process.send?.({ url: await start() })

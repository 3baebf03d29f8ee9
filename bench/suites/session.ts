import type { Contender, Context, Suite } from '../harness.ts'
import { httpLoad } from '../tools/http-load.ts'
import { startRedisOverTcp } from '../tools/redis-server.ts'
import { startServer } from '../tools/server-process.ts'
import { population } from './session/population.ts'
import { profileOf } from './session/profile.ts'

const servers = new URL('./session/server.ts', import.meta.url)
const USERS = Array.from({ length: 200 }, (_, i) => `user-${i}`)

type Storage = 'redis' | 'memory'

const LIMIT = { redis: 'Fastify + @fastify/cookie + one GET', memory: 'Fastify + @fastify/cookie' } as const

interface Server {
  /** What `server.ts` calls it. */
  kind: string
  storage: Storage
  /** Begins a session of the user. */
  login?: (user: string) => string
  /** What `GET /profile` answers must have in it. */
  answer?: (user: string) => string
}

function contender(name: string, role: Contender['role'], packages: string[], server: Server): Contender {
  const { kind, storage } = server
  const { login = (user) => `/login?user=${user}`, answer = (user) => JSON.stringify(profileOf(user)) } = server
  return {
    name,
    role,
    packages,
    async setup(context: Context) {
      const redis = storage === 'redis' ? [await startRedisOverTcp(context)] : []
      const server = await startServer(context, servers, [kind, storage, ...redis])
      const cookies = await Promise.all(USERS.map((user) => cookieBy(`${server.url}${login(user)}`)))
      const refused = await fetch(`${server.url}/profile`)
      if (refused.status !== 401) throw new Error(`${name} let somebody in without a session`)
      /** A contender that answers something else would win easily. */
      const countWrong = async () => {
        const answers = await Promise.all(cookies.map((cookie) => profileBy(server.url, cookie)))
        return answers.filter((text, i) => !text.includes(answer(USERS[i] as string))).length
      }
      if ((await countWrong()) > 0) throw new Error(`${name} does not answer what was asked`)
      const requests = cookies.map((cookie) => ({ method: 'GET' as const, path: '/profile', headers: { cookie } }))
      return async () => {
        const measurement = await httpLoad({ server, path: '/profile', requests, duration: context.quick ? 2 : 4 })
        // After the load each still gets their own.
        return { ...measurement, faults: { ...measurement.faults, wrong: await countWrong() } }
      }
    },
  }
}

async function cookieBy(url: string): Promise<string> {
  const response = await fetch(url, { method: 'POST' })
  const [cookie] = response.headers.getSetCookie()
  if (response.status !== 200 || !cookie) throw new Error(`the login by ${url} answered ${response.status}`)
  return cookie.split(';', 1)[0] as string
}

async function profileBy(url: string, cookie: string): Promise<string> {
  return (await fetch(`${url}/profile`, { headers: { cookie } })).text()
}

const limit = (storage: Storage) =>
  contender(LIMIT[storage], 'limit', ['fastify', '@fastify/cookie'], { kind: 'limit', storage })

const contenders = (storage: Storage): Contender[] => {
  const peerStore = storage === 'redis' ? ['connect-redis', 'redis'] : []
  return [
    limit(storage),
    contender('fastify-stateful', 'ours', ['fastify'], { kind: 'fastify-stateful', storage }),
    contender('@fastify/session', 'peer', ['@fastify/session', ...peerStore], { kind: '@fastify/session', storage }),
    contender('express-session', 'peer', ['express', 'express-session'], { kind: 'express-session', storage }),
  ]
}

const reference = contender('the reference server', 'ours', ['fastify'], {
  kind: 'reference',
  storage: 'memory',
  login: (user) => `/as/${user}`,
  answer: (user) => `"id":"${user}"`,
})

const suite: Suite = {
  name: 'session',
  description:
    'An authenticated `GET /profile` over HTTP, 50 connections, 200 sessions in turn. The peers keep their sessions by ' +
    'connect-redis, or in their own memory stores, and do not save what was only read; the limit is the same Fastify with @fastify/cookie, ' +
    'and one auto-pipelined `GET` by ioredis with its own defaults. Answers per second of CPU time of the server. Then what sessions cost in Redis: memory, and ' +
    'how long a count and the list of one user (5 sessions) take, whose limit is that with a thousand sessions.',
  cases: [
    {
      name: 'GET /profile on Redis',
      unit: 'answers/CPU s',
      better: 'higher',
      contenders: contenders('redis'),
    },
    { name: 'GET /profile in memory', unit: 'answers/CPU s', better: 'higher', contenders: contenders('memory') },
    {
      name: 'GET /profile of the reference server, in memory',
      unit: 'answers/CPU s',
      better: 'higher',
      contenders: [limit('memory'), reference],
    },
    ...population,
  ],
}

export default suite

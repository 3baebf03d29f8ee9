import type { Contender, Context, Suite } from '../harness.ts'
import { httpLoad } from '../tools/http-load.ts'
import { startRedis } from '../tools/redis-server.ts'
import { startServer } from '../tools/server-process.ts'
import { population } from './session/population.ts'
import { profileOf } from './session/profile.ts'

const servers = new URL('./session/server.ts', import.meta.url)
const USERS = Array.from({ length: 200 }, (_, i) => `user-${i}`)

type Storage = 'redis' | 'memory'

function contender(name: string, role: Contender['role'], packages: string[], storage: Storage): Contender {
  return {
    name: role === 'limit' ? (storage === 'redis' ? 'Fastify + one HGETALL' : 'Fastify + cookie parsing') : name,
    role,
    packages,
    async setup(context: Context) {
      const socket = storage === 'redis' ? [await startRedis(context)] : []
      const server = await startServer(context, servers, [role === 'limit' ? 'limit' : name, storage, ...socket])
      const cookies = await Promise.all(USERS.map((user) => login(server.url, user)))
      const refused = await fetch(`${server.url}/profile`)
      if (refused.status !== 401) throw new Error(`${name} let somebody in without a session`)
      for (const [i, cookie] of cookies.entries()) await expectProfile(server.url, cookie, USERS[i] as string)
      const requests = cookies.map((cookie) => ({ method: 'GET' as const, path: '/profile', headers: { cookie } }))
      return async () => {
        const measurement = await httpLoad({ server, path: '/profile', requests, duration: context.quick ? 2 : 4 })
        // After the load each still gets their own.
        const answers = await Promise.all(cookies.map((cookie) => profileBy(server.url, cookie)))
        const wrong = answers.filter((answer, i) => answer !== JSON.stringify(profileOf(USERS[i] as string))).length
        return { ...measurement, faults: { ...measurement.faults, wrong } }
      }
    },
  }
}

async function login(url: string, user: string): Promise<string> {
  const response = await fetch(`${url}/login?user=${user}`, { method: 'POST' })
  const [cookie] = response.headers.getSetCookie()
  if (response.status !== 200 || !cookie) throw new Error(`the login of ${user} answered ${response.status}`)
  return cookie.split(';', 1)[0] as string
}

async function profileBy(url: string, cookie: string): Promise<string> {
  return (await fetch(`${url}/profile`, { headers: { cookie } })).text()
}

/** Whoever answers something else than asked would win easily. */
async function expectProfile(url: string, cookie: string, user: string): Promise<void> {
  const answer = await profileBy(url, cookie)
  if (answer !== JSON.stringify(profileOf(user))) throw new Error(`${url} answered ${answer}`)
}

const contenders = (storage: Storage): Contender[] => [
  contender('limit', 'limit', ['fastify', '@fastify/cookie'], storage),
  contender('fastify-stateful', 'ours', ['fastify', '@fastify/session'], storage),
  contender(
    '@fastify/session',
    'peer',
    ['@fastify/session', ...(storage === 'redis' ? ['connect-redis', 'redis'] : [])],
    storage,
  ),
  contender('express-session', 'peer', ['express', 'express-session'], storage),
]

const suite: Suite = {
  name: 'session',
  description:
    'An authenticated `GET /profile` over HTTP, 50 connections, 200 sessions in turn. The peers keep their sessions by ' +
    'connect-redis, or in their own memory stores, and do not save what was only read; the limit asks Redis by the ' +
    'same client as ours. Answers per second of CPU time of the server. Then what sessions cost in Redis: memory, and ' +
    'how long a count and the list of one user (5 sessions) take, whose limit is that with a thousand sessions.',
  cases: [
    {
      name: 'GET /profile on Redis',
      unit: 'answers/CPU s',
      better: 'higher',
      contenders: contenders('redis'),
    },
    { name: 'GET /profile in memory', unit: 'answers/CPU s', better: 'higher', contenders: contenders('memory') },
    ...population,
  ],
}

export default suite

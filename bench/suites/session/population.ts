import { RedisStore } from 'connect-redis'
import { createClient } from 'redis'
import { SessionEngine } from '../../../plugins/session/engine.ts'
import { Sessions } from '../../../plugins/session/index.ts'
import { RedisSessionStore } from '../../../plugins/session/stores/redis.ts'
import { openStorage, type RedisStorage } from '../../../plugins/storage/index.ts'
import type { Case, Context } from '../../harness.ts'
import { startRedis } from '../../tools/redis-server.ts'
import { profileOf } from './profile.ts'

/** Sessions of one user. */
const PER_USER = 5
/** Logins under way at a time while a Redis is filled: they leave as pipelines. */
const WIDTH = 500

/** The same Redis with so many sessions of ours. */
async function ours(context: Context, size: number) {
  const socket = await startRedis(context)
  const storage = (await openStorage({
    url: 'redis://localhost',
    redis: { path: socket, commandTimeout: 60_000 },
  })) as RedisStorage
  context.teardown(() => storage.close())
  const policy = { idle: 86_400_000, absolute: 86_400_000, touch: 60_000 }
  const sessions = new Sessions(new SessionEngine({ store: new RedisSessionStore(storage), ...policy }))
  const empty = await usedMemory((section) => storage.client.info(section))
  await fill(size, (n) => {
    const user = `user-${n % (size / PER_USER)}`
    return sessions.create(user, { profile: profileOf(user) })
  })
  const bytes = ((await usedMemory((section) => storage.client.info(section))) - empty) / size
  return { sessions, bytes }
}

async function connectRedis(context: Context, size: number) {
  const client = createClient({ socket: { path: await startRedis(context), tls: false } })
  await client.connect()
  context.teardown(() => client.destroy())
  const store = new RedisStore({ client })
  const empty = await usedMemory((section) => client.info(section))
  const expires = new Date(Date.now() + 86_400_000)
  await fill(size, (n) => {
    const user = `user-${n % (size / PER_USER)}`
    // An id as long as express-session's, and what express-session keeps: the cookie and the same data.
    return store.set(`${n}`.padEnd(32, 'x'), {
      cookie: { originalMaxAge: 86_400_000, expires, secure: false, httpOnly: true, path: '/', sameSite: 'lax' },
      user: { id: user },
      profile: profileOf(user),
    } as unknown as Parameters<typeof store.set>[1])
  })
  const bytes = ((await usedMemory((section) => client.info(section))) - empty) / size
  return { bytes }
}

async function fill(size: number, add: (n: number) => Promise<unknown>): Promise<void> {
  let next = 0
  const lane = async () => {
    while (next < size) await add(next++)
  }
  await Promise.all(Array.from({ length: WIDTH }, lane))
}

async function usedMemory(info: (section: string) => Promise<string>): Promise<number> {
  return Number(/used_memory:(\d+)/.exec(await info('memory'))?.[1])
}

const MILLION = 1_000_000
/** Sessions that a quick run has at most. */
const QUICK = 10_000
const sizes = [1_000, 10_000, 100_000, MILLION]

export const population: Case[] = [
  {
    name: 'count() and list(user), by the number of sessions in Redis',
    unit: 'ms',
    better: 'lower',
    contenders: sizes.map((size) => ({
      name: `${size.toLocaleString('en')} sessions`,
      role: size === sizes[0] ? 'limit' : size === MILLION ? 'ours' : 'peer',
      fullOnly: size > QUICK,
      async setup(context) {
        const { sessions } = await ours(context, size)
        return async () => {
          const repeats = context.quick ? 2 : 20
          let wrong = 0
          const started = performance.now()
          for (let i = 0; i < repeats; i++) {
            if ((await sessions.count()) !== size) wrong += 1
            if ((await sessions.list(`user-${i}`)).length !== PER_USER) wrong += 1
          }
          return { value: (performance.now() - started) / repeats, faults: { wrong } }
        }
      },
    })),
  },
  {
    name: 'Memory of Redis for a session',
    unit: 'bytes',
    better: 'lower',
    rounds: 1,
    contenders: [
      {
        name: 'fastify-stateful',
        role: 'ours',
        async setup(context) {
          const { bytes } = await ours(context, context.quick ? QUICK : MILLION)
          return () => ({ value: bytes, faults: {} })
        },
      },
      {
        name: 'connect-redis',
        role: 'peer',
        packages: ['connect-redis', 'redis'],
        async setup(context) {
          const { bytes } = await connectRedis(context, context.quick ? QUICK : MILLION)
          return () => ({ value: bytes, faults: {} })
        },
      },
    ],
  },
]

import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import KeyvRedis from '@keyv/redis'
import { Redis } from 'ioredis'
import { Keyv } from 'keyv'
import { open } from 'lmdb'
import { createStore } from 'tinybase'
import { openStateLog } from '../../plugins/state/log/open.ts'
import { LIMIT_RULES } from '../../plugins/state/options.ts'
import { StateManager } from '../../plugins/state/spaces.ts'
import { openStorage } from '../../plugins/storage/index.ts'
import { readOptions } from '../../plugins/support/options.ts'
import { freePort } from '../../test/fixtures/redis-server.ts'
import type { Case, Context, Suite } from '../harness.ts'
import { asyncCallsPerSecond, callsPerSecond } from '../tools/timing.ts'
import type { ManySpaces } from './state/many-spaces.ts'
import { installedServers } from './state/servers.ts'

const KEYS = 1_000
const RETAINED = 1_000
const value = { text: 'x'.repeat(180) }
/** What we store for the value and for a commit of it, checksums aside. */
const entryText = `1000000 - ${JSON.stringify(value)}`
const recordOf = (key: string) =>
  JSON.stringify({ e: '1:01234567', a: 1_700_000_000_000, o: [{ op: 'set', key, value }], t: '01234567.abcde' })
const logKey = (revision: number) => `app/log/${`${revision}`.padStart(16, '0')}`

async function openState({ teardown }: Pick<Context, 'teardown'>, url: string): Promise<StateManager> {
  const storage = await openStorage(url)
  const history = { commits: RETAINED, bytes: 32 * 1024 * 1024 }
  const state = new StateManager({
    openLog: (space) => openStateLog(storage, space, history),
    limits: readOptions(LIMIT_RULES, { keys: 200_000 }),
    writeTimeout: 10_000,
    pollInterval: 1_000,
    history,
    onError: (error) => process.stderr.write(`${error}\n`),
  })
  teardown(async () => {
    await state.close()
    await storage.close()
  })
  await state.ready
  return state
}

async function folder({ teardown }: Context): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), 'stateful-bench-'))
  teardown(() => rm(path, { recursive: true, force: true }))
  return path
}

async function redisServer({ teardown }: Context): Promise<number> {
  const port = await freePort()
  const child = spawn('redis-server', ['--port', `${port}`, '--save', '', '--bind', '127.0.0.1'], { stdio: 'ignore' })
  teardown(async () => {
    const exited = once(child, 'exit')
    child.kill('SIGKILL')
    await exited
  })
  const client = new Redis(port, { retryStrategy: () => 20, maxRetriesPerRequest: null })
  client.on('error', () => {})
  await client.ping()
  client.disconnect()
  return port
}

/** The plain driver with its own settings. */
function redisClient({ teardown }: Context, port: number): Redis {
  const client = new Redis(port)
  teardown(() => client.disconnect())
  return client
}

/** The writes of a commit of one key, without any of the checks. */
const bareCommit = `local revision = redis.call('HINCRBY', KEYS[1], 'revision', 1)
   redis.call('HSET', KEYS[2], ARGV[1], ARGV[2])
   redis.call('XADD', KEYS[3], 'MAXLEN', '~', 1000, revision .. '-0', 'r', ARGV[3])
   redis.call('PUBLISH', KEYS[1], revision)
   return revision`
const bareIncrement = `return redis.call('HINCRBY', KEYS[1], ARGV[1], 1)`

/** From opening the storage, on LMDB with its check in a child process, to the first read. */
function bootCase(store: string, place: (context: Context) => Promise<string>): Case {
  return {
    name: `boot with 100,000 keys on ${store}`,
    unit: 'ms',
    better: 'lower',
    rounds: 3,
    contenders: [
      {
        name: 'fastify-stateful',
        role: 'ours',
        async setup(context) {
          const keys = context.quick ? 1_000 : 100_000
          const url = await place(context)
          const closes: (() => unknown)[] = []
          const state = await openState({ teardown: (run) => closes.push(run) }, url)
          await state.restore({
            state: Object.fromEntries(Array.from({ length: keys }, (_, n) => [`key${n}`, { n }])),
          })
          for (const close of closes) await close()
          return async () => {
            const closing: (() => unknown)[] = []
            const started = performance.now()
            const state = await openState({ teardown: (run) => closing.push(run) }, url)
            const ms = performance.now() - started
            const missing = keys - state.size
            for (const close of closing) await close()
            return { value: ms, faults: { missing } }
          }
        },
      },
    ],
  }
}

/** Each space is written to once; as many are open as may be, and the memory of the others is free again. */
function spacesCase(store: string, place: (context: Context) => Promise<string>): Case {
  const program = fileURLToPath(new URL('./state/many-spaces.ts', import.meta.url))
  return {
    name: `what 9,000 more spaces leave in memory after 1,000, on ${store}`,
    unit: 'MiB',
    better: 'lower',
    rounds: 1,
    contenders: [
      {
        name: 'fastify-stateful',
        role: 'ours',
        async setup(context) {
          const count = context.quick ? 500 : 10_000
          const limit = readOptions(LIMIT_RULES, undefined).spaces
          return async () => {
            const args = [...process.execArgv, program, await place(context), `${count}`]
            const { stdout } = await promisify(execFile)(process.execPath, args)
            const { first, last, open, lost } = JSON.parse(stdout) as ManySpaces
            return { value: last - first, faults: { lost, 'open beyond the limit': Math.max(open - limit, 0) } }
          }
        },
      },
    ],
  }
}

const suite: Suite = {
  name: 'state',
  description:
    'State is read in memory, written durably and shared by several instances: what does that cost beside the bare parts? Writes are acknowledged when they are on disk (LMDB) or committed (Redis). etcd flushes what it acknowledges, NATS and Redis do not; both peers are the servers of Debian, and take part where they are installed.',
  rounds: 5,
  cases: [
    {
      name: 'local get',
      unit: 'reads/s',
      better: 'higher',
      contenders: [
        {
          name: 'Map.get',
          role: 'limit',
          setup({ quick }) {
            const map = new Map(Array.from({ length: KEYS }, (_, n) => [`key${n}`, value]))
            const names = [...map.keys()]
            return () => ({ value: callsPerSecond((i) => map.get(names[i % KEYS] as string), quick ? 30 : 500) })
          },
        },
        {
          name: 'fastify-stateful',
          role: 'ours',
          async setup(context) {
            const state = await openState(context, 'memory:')
            const names = Array.from({ length: KEYS }, (_, n) => `key${n}`)
            await Promise.all(names.map((name) => state.set(name, value)))
            return () => ({
              value: callsPerSecond((i) => state.get(names[i % KEYS] as string), context.quick ? 30 : 500),
            })
          },
        },
        {
          name: 'tinybase',
          role: 'peer',
          packages: ['tinybase'],
          setup({ quick }) {
            const store = createStore()
            const names = Array.from({ length: KEYS }, (_, n) => `key${n}`)
            for (const name of names) store.setValue(name, JSON.stringify(value))
            return () => ({ value: callsPerSecond((i) => store.getValue(names[i % KEYS] as string), quick ? 30 : 500) })
          },
        },
      ],
    },
    {
      name: 'LMDB, flushed writes, 1,000 at the same time',
      unit: 'writes/s',
      better: 'higher',
      contenders: [
        {
          name: 'lmdb put + flushed',
          role: 'limit',
          packages: ['lmdb'],
          async setup(context) {
            const root = open({ path: join(await folder(context), 'raw.mdb') })
            context.teardown(() => root.close())
            // The bytes of one commit: its record, the value, and the record that is not retained any more goes.
            // lmdb commits whatever is put meanwhile as one transaction, as we do.
            const write = async (i: number) => {
              const key = `key${i % KEYS}`
              root.put(logKey(i), recordOf(key))
              if (i >= RETAINED) root.remove(logKey(i - RETAINED))
              await root.put(`app/key/${key}`, entryText)
              await root.flushed
            }
            return async () => ({ value: await asyncCallsPerSecond(write, context.quick ? 100 : 1_500, 1_000) })
          },
        },
        {
          name: 'fastify-stateful',
          role: 'ours',
          async setup(context) {
            const state = await openState(context, `lmdb:${await folder(context)}`)
            return async () => {
              let acknowledged = 0
              const before = state.revision
              const write = async (i: number) => {
                await state.set(`key${i % KEYS}`, value)
                acknowledged++
              }
              const speed = await asyncCallsPerSecond(write, context.quick ? 100 : 1_500, 1_000)
              return { value: speed, faults: { lost: acknowledged - (state.revision - before) } }
            }
          },
        },
      ],
    },
    {
      name: 'Redis, commits, 100 at the same time',
      unit: 'commits/s',
      better: 'higher',
      contenders: [
        {
          name: 'bare EVALSHA with the same writes',
          role: 'limit',
          async setup(context) {
            const client = redisClient(context, await redisServer(context))
            const sha = (await client.script('LOAD', bareCommit)) as string
            const write = (i: number) => {
              const key = `key${i % KEYS}`
              return client.evalsha(sha, 3, '{b}meta', '{b}values', '{b}log', key, entryText, recordOf(key))
            }
            return async () => ({ value: await asyncCallsPerSecond(write, context.quick ? 100 : 1_500, 100) })
          },
        },
        {
          name: 'fastify-stateful',
          role: 'ours',
          async setup(context) {
            const state = await openState(context, `redis://127.0.0.1:${await redisServer(context)}`)
            return async () => {
              let acknowledged = 0
              const before = state.revision
              const write = async (i: number) => {
                await state.set(`key${i % KEYS}`, value)
                acknowledged++
              }
              const speed = await asyncCallsPerSecond(write, context.quick ? 100 : 1_500, 100)
              return { value: speed, faults: { lost: acknowledged - (state.revision - before) } }
            }
          },
        },
        {
          // Values alone: no log, no order among instances, nobody is told.
          name: 'keyv',
          role: 'peer',
          packages: ['keyv', '@keyv/redis'],
          async setup(context) {
            const keyv = new Keyv(new KeyvRedis(`redis://127.0.0.1:${await redisServer(context)}`))
            context.teardown(() => keyv.disconnect())
            const write = (i: number) => keyv.set(`key${i % KEYS}`, value)
            return async () => ({ value: await asyncCallsPerSecond(write, context.quick ? 100 : 1_500, 100) })
          },
        },
        ...installedServers(JSON.stringify(value)),
      ],
    },
    {
      name: 'Redis, one counter, two instances with 50 increments each at the same time',
      unit: 'increments/s',
      better: 'higher',
      contenders: [
        {
          name: 'HINCRBY through one script',
          role: 'limit',
          async setup(context) {
            const port = await redisServer(context)
            const clients = [redisClient(context, port), redisClient(context, port)] as const
            const sha = (await clients[0].script('LOAD', bareIncrement)) as string
            const add = (i: number) => (i % 2 ? clients[1] : clients[0]).evalsha(sha, 1, 'counters', 'n')
            return async () => ({ value: await asyncCallsPerSecond(add, context.quick ? 100 : 1_500, 100) })
          },
        },
        {
          name: 'fastify-stateful',
          role: 'ours',
          async setup(context) {
            const url = `redis://127.0.0.1:${await redisServer(context)}`
            const instances = [await openState(context, url), await openState(context, url)]
            return async () => {
              const [first] = instances as [StateManager]
              await first.freshen()
              const before = (first.get('n') as number | undefined) ?? 0
              let counted = 0
              const add = async (i: number) => {
                await (instances[i % 2] as StateManager).increment('n')
                counted++
              }
              const speed = await asyncCallsPerSecond(add, context.quick ? 100 : 1_500, 100)
              await first.freshen()
              return { value: speed, faults: { lost: Math.abs((first.get('n') as number) - before - counted) } }
            }
          },
        },
      ],
    },
    bootCase('LMDB', async (context) => `lmdb:${await folder(context)}`),
    bootCase('Redis', async (context) => `redis://127.0.0.1:${await redisServer(context)}`),
    spacesCase('memory', async () => 'memory:'),
    spacesCase('LMDB', async (context) => `lmdb:${await folder(context)}`),
    spacesCase('Redis', async (context) => `redis://127.0.0.1:${await redisServer(context)}`),
  ],
}

export default suite

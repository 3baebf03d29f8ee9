import { setTimeout as delay } from 'node:timers/promises'
import t, { type Test } from 'tap'
import type { Space, StateManager } from '../../../../plugins/state/index.ts'
import type { StateLog } from '../../../../plugins/state/log/contract.ts'
import { checkLinearizable } from '../../../checkers/linearizability.ts'
import { keyedRegisters, type Model, space as spaceModel } from '../../../checkers/models.ts'
import { startFaultProxy } from '../../../fixtures/fault-proxy.ts'
import { type Random, seededRandom } from '../../../fixtures/random.ts'
import { startRedis } from '../../../fixtures/redis-server.ts'
import { testState } from '../../../fixtures/state.ts'
import {
  perform,
  performOnSpace,
  randomKeyedOp,
  randomSpaceOp,
  recordHistory,
} from '../../../fixtures/state-history.ts'
import { storageUrl } from '../../../fixtures/storages.ts'

t.setTimeout(180_000)

/** The same histories in every run; another seed gives others. */
const SEED = Number(process.env['CHAOS_SEED'] ?? 1)
const HISTORIES = Number(process.env['HISTORIES'] ?? 120)

interface Plan {
  clients: number
  operations: number
  /** Histories that are recorded at the same time, each in a space of its own. */
  together: number
  /** Does something to the world while histories are recorded. */
  disturb?: (random: Random, recording: { done: boolean }) => Promise<void>
}

/** Records histories and lets the checker judge them. */
async function judge(t: Test, open: (name: string) => Promise<Space[]>, plan: Plan): Promise<{ unknown: number }> {
  let unknown = 0
  const record = async (n: number) => {
    const random = seededRandom(SEED * 1_000_000 + n)
    const spaces = await open(`h${n}`)
    const found =
      // Every fourth is about several keys at once; those cannot be split by key, so they are shorter.
      n % 4 === 3
        ? await judged(
            random,
            spaces,
            { ...plan, operations: Math.ceil(plan.operations / 2) },
            randomSpaceOp,
            performOnSpace,
            spaceModel,
          )
        : await judged(random, spaces, plan, randomKeyedOp, perform, keyedRegisters)
    unknown += found.unknown
    if (found.report) t.fail(`seed ${SEED}, history ${n}: ${found.report}`)
  }
  for (let n = 0; n < HISTORIES; n += plan.together) {
    const recording = { done: false }
    const histories = Promise.all(Array.from({ length: plan.together }, (_, i) => record(n + i)))
    const over = histories.finally(() => {
      recording.done = true
    })
    over.catch(() => {})
    await plan.disturb?.(seededRandom(SEED * 7_000_000 + n), recording)
    await over
  }
  t.pass(`${HISTORIES} histories, ${unknown} operations of unknown outcome`)
  return { unknown }
}

async function judged<State, Op>(
  random: Random,
  spaces: Space[],
  plan: Plan,
  next: (random: Random, keys: readonly string[]) => Op,
  run: (space: Space, op: Op) => Promise<unknown>,
  model: Model<State, Op>,
): Promise<{ unknown: number; report: string }> {
  const history = await recordHistory(random, spaces, plan, (random) => next(random, ['a', 'b']), run)
  const unknown = history.filter(({ outcome }) => outcome === 'unknown').length
  const found = checkLinearizable(history, model)
  return { unknown, report: found.linearizable ? '' : found.report }
}

t.test('histories on memory and LMDB are linearizable', async (t) => {
  for (const kind of ['memory', 'lmdb'] as const) {
    const { state } = await testState(t, { url: await storageUrl(t, kind), limits: { spaces: 1_000 } })
    await judge(
      t,
      async (name) => {
        const space = state.space(name)
        await space.ready
        return [space]
      },
      { clients: 5, operations: 12, together: 20 },
    )
  }
})

t.test('histories on a store whose answers get lost are linearizable', async (t) => {
  // The engine's timers keep no process alive, and here is nothing else that would.
  const alive = setInterval(() => {}, 1_000)
  t.teardown(() => clearInterval(alive))
  const random = seededRandom(SEED)
  const unreliable = (log: StateLog): StateLog =>
    new Proxy(log, {
      get(target, name) {
        const member = Reflect.get(target, name)
        if (name !== 'commit') return typeof member === 'function' ? member.bind(target) : member
        return async (...args: Parameters<StateLog['commit']>) => {
          const lost = random.integer(0, 9)
          if (lost === 0) throw new Error('the request was lost')
          const outcome = await target.commit(...args)
          if (lost === 1) throw new Error('the answer was lost')
          return outcome
        }
      },
    })
  const { state } = await testState(t, { wrap: unreliable, limits: { spaces: 1_000 } })
  await judge(
    t,
    async (name) => {
      const space = state.space(name)
      await space.ready
      return [space]
    },
    { clients: 5, operations: 8, together: 20 },
  )
})

t.test(
  'histories of two instances on Redis are linearizable through cuts, lost replies, pauses and restarts',
  async (t) => {
    // Written to disk before it is acknowledged: a restart may interrupt, but not lose.
    const redis = await startRedis(t, ['--appendonly', 'yes', '--appendfsync', 'always'])
    const proxies = [
      await startFaultProxy(t, { target: { port: redis.port } }),
      await startFaultProxy(t, { target: { port: redis.port } }),
    ]
    const instances: StateManager[] = []
    for (const proxy of proxies) {
      const redisOptions = { commandTimeout: 250, connectTimeout: 500, retryStrategy: () => 10 }
      const { state } = await testState(t, {
        url: { url: `redis://127.0.0.1:${proxy.port}`, redis: redisOptions },
        limits: { spaces: 1_000 },
        writeTimeout: 2_000,
      })
      instances.push(state)
    }
    let faults = 0
    await judge(
      t,
      async (name) => {
        return Promise.all(instances.map((state) => opened(state, name)))
      },
      {
        clients: 4,
        operations: 10,
        together: 5,
        disturb: async (random, recording) => {
          // A few faults while histories are recorded; then they must get through.
          for (let n = random.integer(2, 5); n > 0 && !recording.done; n--) {
            await delay(random.integer(0, 8))
            faults++
            const proxy = random.pick(proxies)
            const fault = random.integer(0, 20)
            if (fault < 7) proxy.dropReplies()
            else if (fault < 12) proxy.cut()
            else if (fault < 14) proxy.delay(random.integer(1, 5))
            else if (fault < 16) proxy.splitBytes()
            else if (fault < 18) {
              redis.process().kill('SIGSTOP')
              await delay(random.integer(5, 300))
              redis.process().kill('SIGCONT')
            } else if (fault < 19) {
              proxy.halfOpen()
              await delay(random.integer(5, 300))
              proxy.heal()
            } else await redis.restart()
          }
          await delay(random.integer(0, 10))
          for (const proxy of proxies) proxy.heal()
        },
      },
    )
    t.ok(faults > HISTORIES / 4, `${faults} faults`)
  },
)

/** Opening needs the store as well; whoever cannot open a space tries again. */
async function opened(state: StateManager, name: string): Promise<Space> {
  for (;;) {
    const space = state.space(name)
    try {
      await space.ready
      return space
    } catch (error) {
      if ((error as { code?: string }).code !== 'STATEFUL_STORAGE_UNAVAILABLE') throw error
      await delay(20)
    }
  }
}

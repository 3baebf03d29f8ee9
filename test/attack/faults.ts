import { once } from 'node:events'
import { setTimeout as wait } from 'node:timers/promises'
import { Redis } from 'ioredis'
import type { Owner } from '../fixtures/cleanup.ts'
import type { Random } from '../fixtures/random.ts'
import type { RedisServer } from '../fixtures/redis-server.ts'
import type { SmallDisk } from '../fixtures/small-disk.ts'

/** A way in which a storage fails, and is well again. */
export interface Fault {
  readonly name: string
  /** Begins it, waits, ends it. */
  run(): Promise<void>
}

/** What Redis does to those who use it. */
export function redisFaults(owner: Owner, redis: RedisServer): Fault[] {
  const command = async (...[name = '', ...args]: string[]) => {
    const client = new Redis({ port: redis.port, host: '127.0.0.1', lazyConnect: true, retryStrategy: () => null })
    client.on('error', () => {})
    try {
      await client.connect()
      await client.call(name, ...args)
    } catch {
      // The server that is told to sleep or to cut connections cannot always answer.
    } finally {
      client.disconnect()
    }
  }
  // A stopped process would survive a polite end of the harness.
  owner.teardown(() => redis.process().kill('SIGCONT'))
  return [
    {
      name: 'Redis stopped',
      async run() {
        redis.process().kill('SIGSTOP')
        await wait(1_500)
        redis.process().kill('SIGCONT')
      },
    },
    {
      name: 'Redis killed and restarted',
      async run() {
        await redis.kill()
        await wait(500)
        await redis.restart()
      },
    },
    { name: 'clients paused', run: () => command('CLIENT', 'PAUSE', '1500', 'ALL').then(() => wait(1_500)) },
    { name: 'clients cut', run: () => command('CLIENT', 'KILL', 'TYPE', 'NORMAL') },
    { name: 'subscribers cut', run: () => command('CLIENT', 'KILL', 'TYPE', 'PUBSUB') },
    {
      name: 'Redis full',
      async run() {
        await command('CONFIG', 'SET', 'maxmemory', '1mb')
        await wait(1_500)
        await command('CONFIG', 'SET', 'maxmemory', '0')
      },
    },
    { name: 'Redis asleep', run: () => command('DEBUG', 'SLEEP', '1.2') },
  ]
}

export const REDIS_ARGUMENTS = [
  ...['--appendonly', 'yes', '--appendfsync', 'always', '--maxmemory-policy', 'noeviction'],
  ...['--enable-debug-command', 'local'],
]

/** A disk without room. */
export function diskFaults(disk: SmallDisk): Fault[] {
  return [
    {
      name: 'disk full',
      async run() {
        await disk.fill()
        await wait(1_500)
        await disk.free()
      },
    },
  ]
}

/** After a fault has ended, this long is still excused, in milliseconds: connections come back by and by. */
export const RECOVERY = 3_000

/** One fault after the other, in an order that the seed decides. */
export class FaultSchedule {
  readonly #faults: Fault[]
  readonly #random: Random
  readonly #begun: string[] = []
  #current: string | undefined
  #ended = Number.NEGATIVE_INFINITY

  constructor(faults: Fault[], random: Random) {
    this.#faults = faults
    this.#random = random
  }

  /** The fault that is on, or was a moment ago. */
  excuse(): string | undefined {
    if (this.#current !== undefined) return this.#current
    return performance.now() - this.#ended < RECOVERY ? this.#begun.at(-1) : undefined
  }

  /** How often which was run. */
  get counts(): Record<string, number> {
    const counts: Record<string, number> = {}
    for (const name of this.#begun) counts[name] = (counts[name] ?? 0) + 1
    return counts
  }

  /** Runs them with a pause of `calm` milliseconds between two, until the signal. */
  async run(calm: number, until: AbortSignal): Promise<void> {
    let waiting: Fault[] = []
    while (this.#faults.length > 0) {
      await pause(calm, until)
      if (until.aborted) return
      if (waiting.length === 0) waiting = this.#random.shuffle(this.#faults)
      const fault = waiting.pop() as Fault
      this.#begun.push(fault.name)
      this.#current = fault.name
      try {
        await fault.run()
      } finally {
        this.#ended = performance.now()
        this.#current = undefined
      }
    }
  }
}

async function pause(ms: number, until: AbortSignal): Promise<void> {
  if (until.aborted) return
  await Promise.race([wait(ms, undefined, { ref: false }), once(until, 'abort')])
}

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { Redis } from 'ioredis'
import t, { type Test } from 'tap'
import { eventually } from '../../../../fixtures/eventually.ts'
import { seededRandom } from '../../../../fixtures/random.ts'
import { startRedis } from '../../../../fixtures/redis-server.ts'
import { untrackedTypeScript } from '../../../../fixtures/untracked.ts'
import { startCache } from '../../fixture.ts'
import { type Numbered, persist, persisted } from './real-source.ts'

t.setTimeout(120_000)

const RUNS = Number(process.env['WRITE_BEHIND_PROCESSES'] ?? 3)
/** Acknowledged writes between one trouble and the next. */
const WRITES = 60
const TROUBLES = 4

for (let seed = 1; seed <= RUNS; seed++) {
  t.test(`processes that are killed and stopped in the middle (seed ${seed}): nothing is lost, and all agree`, (t) =>
    run(t, seed),
  )
}

async function run(t: Test, seed: number): Promise<void> {
  const random = seededRandom(seed)
  const { url } = await startRedis(t)
  const redis = new Redis(url)
  t.teardown(() => redis.disconnect())
  /** The last number of each process and key that was acknowledged. */
  const acknowledged = new Map<string, number>()
  let total = 0
  const start = (name: string): ChildProcess => {
    const file = new URL('./child.ts', import.meta.url).pathname
    const child = spawn(...untrackedTypeScript(file, url, name, `${seed}`), {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    t.teardown(() => child.kill('SIGKILL'))
    createInterface(child.stdout).on('line', (line) => {
      const [key, n] = line.split(' ') as [string, string]
      acknowledged.set(`${name} ${key}`, Number(n))
      total++
    })
    return child
  }
  const kill = async (child: ChildProcess) => {
    const exited = once(child, 'close')
    child.kill('SIGKILL')
    await exited
  }
  const living = [start('a0'), start('b0')]
  for (let trouble = 1; trouble <= TROUBLES; trouble++) {
    const until = total + WRITES
    await eventually(() => total >= until, 30_000)
    const victim = random.integer(0, 1)
    if (random.chance(0.4)) {
      // Longer than its lease.
      living[victim]?.kill('SIGSTOP')
      await eventually(() => total >= until + WRITES, 30_000)
      living[victim]?.kill('SIGCONT')
    } else {
      await kill(living[victim] as ChildProcess)
      living[victim] = start(`${'ab'[victim]}${trouble}`)
    }
  }
  for (const child of living) await kill(child)

  const cache = await startCache(t, url, { writeBehind: { takeover: 100 } })
  cache.writeBehind('default', (writes) => persist(redis, writes as never))
  await eventually(async () => {
    await cache.writers.flush()
    return cache.stats().writeBehind.pending === 0
  }, 10_000)
  const { rows, disorder } = await persisted(redis)
  // A process that was stopped in the middle of its handler may be late: this source refuses by the numbers.
  t.comment(`${total} writes, ${disorder.length} came late and were refused`)
  t.ok(rows.size > 0)
  for (const [key, { by, n }] of rows) {
    t.ok(n >= (acknowledged.get(`${by} ${key}`) ?? 0), `${key}: write ${n} of ${by} was not its last`)
    const cached = await cache.get<Numbered>(key)
    if (cached) t.same(cached, { by, n }, `${key}: cache and source agree`)
  }
  for (const name of acknowledged.keys()) t.ok(rows.has(name.split(' ')[1] as string), `${name} is there`)
  t.same(await cache.writers.deadLetters('default'), [])
}

import { setImmediate as turn } from 'node:timers/promises'
import t, { type Test } from 'tap'
import type { Commit, Position } from '../../../../openapi/schemas/state.ts'
import type { Lease, StateManager } from '../../../../plugins/state/index.ts'
import { isAtLeast } from '../../../../plugins/state/leases/proof.ts'
import { ManualClock } from '../../../../plugins/support/manual-clock.ts'
import type { FaultProxy } from '../../../fixtures/fault-proxy.ts'
import { type Random, seededRandom } from '../../../fixtures/random.ts'
import { redisPair } from '../../../fixtures/redis-pair.ts'
import { testState } from '../../../fixtures/state.ts'
import { type StorageKind, storageUrl } from '../../../fixtures/storages.ts'

/** `LEASE_SEED=7 LEASE_SCHEDULES=1` replays one. */
const SEED = Number(process.env['LEASE_SEED'] ?? 1)
const SCHEDULES = process.env['LEASE_SCHEDULES']
const STEPS = 40
const HOLDERS = 3
const TTL = 1_000
/** Longer than any schedule: what a write waits for is the store, not its deadline. */
const WRITE_TIMEOUT = 3_600_000

interface Holder {
  readonly name: string
  readonly state: StateManager
  readonly clock: ManualClock
  /** The network in front of it, where there is one. */
  readonly front: FaultProxy | undefined
  /** All that it was given, the last one last: a holder that was stopped goes on with one that is over. */
  readonly leases: Lease[]
  waits: boolean
}

interface World {
  readonly holders: readonly Holder[]
  /** One real round trip: virtual time goes no faster than the store answers. */
  pace(): Promise<unknown>
  /** The replica takes the place of the primary, with what it has. */
  failOver?(lagging: boolean): Promise<void>
}

const isNewer = (token: Position, other: Position) => isAtLeast(token, other) && !isAtLeast(other, token)
const told = ({ epoch, revision }: Position) => `${epoch}.${revision}`

class Schedule {
  readonly #world: World
  readonly #random: Random
  readonly #tokens: Position[] = []
  readonly #acknowledged: number[] = []
  readonly #pending = new Set<Promise<unknown>>()
  readonly #broken: string[] = []
  #writes = 0
  #failedOver = false
  refused = 0

  constructor(world: World, random: Random) {
    this.#world = world
    this.#random = random
  }

  async run(): Promise<string[]> {
    const failOverAt = this.#world.failOver ? this.#random.integer(10, STEPS - 10) : -1
    for (let step = 0; step < STEPS && this.#broken.length === 0; step++) {
      if (step === failOverAt) {
        this.#failedOver = true
        await this.#world.failOver?.(this.#random.chance(0.5))
      }
      this.#act(this.#random.pick(this.#world.holders))
      await this.#pass(this.#random.integer(0, 3))
    }
    for (const { front } of this.#world.holders) front?.heal()
    // What a dead connection waits for is real time.
    const end = performance.now() + 20_000
    while (this.#pending.size > 0 && performance.now() < end) await this.#pass(1)
    if (this.#pending.size > 0) this.#broken.push(`${this.#pending.size} calls have no outcome`)
    else await this.#judge()
    return this.#broken
  }

  #act(holder: Holder): void {
    const { state, clock, front, leases } = holder
    const actions: (() => unknown)[] = [
      () => this.#acquire(holder),
      () => this.#acquire(holder),
      () => this.#write(state, leases.at(-1)),
      () => this.#write(state, leases.at(-1)),
      // One of before: a process that was stopped, or a request that was on its way for long.
      () => leases.length > 0 && this.#write(state, this.#random.pick(leases)),
      () => this.#track(leases.at(-1)?.release()),
      // It hears and says nothing for as long as others count.
      () => this.#move(clock, this.#random.integer(0, 2 * TTL)),
      () => this.#moveOthers(clock, this.#random.integer(0, 2 * TTL)),
      () => clock.jump(this.#random.integer(-1e9, 1e9)),
      () => front?.cut(),
      () => front?.dropReplies(),
      () => front?.halfOpen(),
      () => front?.heal(),
    ]
    this.#random.pick(actions)()
  }

  #acquire(holder: Holder): void {
    if (holder.waits) return
    holder.waits = true
    const before = [...this.#tokens]
    const wait = this.#random.pick([0, TTL, 5 * TTL])
    this.#track(
      holder.state
        .lease('job', { ttl: TTL, wait })
        .then((lease) => {
          const { token } = lease
          const later = before.find((seen) => !isNewer(token, seen))
          if (later) this.#broken.push(`${told(token)} was given out after ${told(later)}`)
          this.#tokens.push(token)
          holder.leases.push(lease)
          this.#onlyOneHolds()
        })
        .finally(() => {
          holder.waits = false
        }),
    )
  }

  #write(state: StateManager, lease: Lease | undefined): void {
    if (!lease) return
    const n = this.#writes++
    const { name, token } = lease
    // What the next one had before this began is what makes it a late one.
    const late = !this.#failedOver && this.#tokens.some((seen) => isNewer(seen, token))
    this.#track(
      state.commit([{ op: 'append', key: 'writes', value: { n, ...token } }], { compareLease: { name, token } }).then(
        () => {
          this.#acknowledged.push(n)
          if (late) this.#broken.push(`write ${n} under ${told(token)} was taken after a later token was given out`)
        },
        () => this.refused++,
      ),
    )
  }

  /** Clocks that go alike never show two at the same time. */
  #onlyOneHolds(): void {
    const { holders } = this.#world
    if (new Set(holders.map(({ clock }) => clock)).size > 1) return
    const held = holders.flatMap(({ leases }) => leases).filter(({ held }) => held)
    if (held.length > 1) this.#broken.push(`${held.map(({ token }) => told(token)).join(' and ')} are both held`)
  }

  #move(clock: ManualClock, ms: number): Promise<void> {
    return this.#track(
      (async () => {
        for (let left = ms; left > 0; left -= TTL / 10) {
          clock.advance(Math.min(left, TTL / 10))
          await this.#world.pace()
        }
      })(),
    )
  }

  #moveOthers(clock: ManualClock, ms: number): void {
    for (const other of new Set(this.#world.holders.map((holder) => holder.clock))) {
      if (other !== clock) void this.#move(other, ms)
    }
  }

  async #pass(times: number): Promise<void> {
    for (let time = 0; time < times; time++) {
      for (const clock of new Set(this.#world.holders.map((holder) => holder.clock))) clock.advance(20)
      await this.#world.pace()
      for (let turns = 0; turns < 3; turns++) await turn()
    }
  }

  #track(call: Promise<unknown> | undefined): Promise<void> {
    if (!call) return Promise.resolve()
    const end = () => void this.#pending.delete(settled)
    // A call that fails has an outcome; what it may not do is judged by the log.
    const settled = call.then(end, end)
    this.#pending.add(settled)
    return settled
  }

  /** The log decides: what was written under a token stands before any later token was given out. */
  async #judge(): Promise<void> {
    const [holder] = this.#world.holders
    const { state } = holder as Holder
    const read = async () => {
      await state.freshen()
      return state.history(await state.oldest())
    }
    let commits: Commit[] | undefined
    // Again, while what was disturbed does not answer yet.
    const end = performance.now() + 20_000
    while (!commits) {
      if (performance.now() > end) {
        this.#broken.push('the log cannot be read')
        return
      }
      this.#track(
        read().then((all) => {
          commits = all
        }),
      )
      while (this.#pending.size > 0 && performance.now() < end) await this.#pass(1)
    }
    const given = new Set<string>()
    const written = new Set<number>()
    let current: Position | undefined
    for (const { epoch, revision, ops } of commits) {
      for (const { op, key, value } of ops) {
        if (key === 'lease:job') {
          const next = op === 'set' ? { epoch, revision } : undefined
          if (next) given.add(told(next))
          current = next
        } else if (key === 'writes') {
          const write = value as unknown as Position & { n: number }
          written.add(write.n)
          if (!current || told(current) !== told(write)) {
            const holds = current ? told(current) : 'nobody'
            this.#broken.push(`write ${write.n} under ${told(write)} landed while ${holds} held it`)
          }
        }
      }
    }
    if (this.#failedOver) return
    for (const token of this.#tokens) if (!given.has(told(token))) this.#broken.push(`${told(token)} is in no log`)
    for (const n of this.#acknowledged) if (!written.has(n)) this.#broken.push(`write ${n} is lost`)
  }
}

/** Several holders in one process, which is all that can write there. */
async function oneProcess(t: Test, kind: StorageKind, random: Random): Promise<World> {
  const clock = new ManualClock()
  const url = await storageUrl(t, kind)
  const { state } = await testState(t, { url, clock, writeTimeout: WRITE_TIMEOUT, random: () => random.next() })
  const holders = Array.from({ length: HOLDERS }, (_, index): Holder => {
    return { name: `${index}`, state, clock, front: undefined, leases: [], waits: false }
  })
  return { holders, pace: () => state.set('pace', 1) }
}

/** Several instances with clocks of their own, each by a network of its own on one Redis, which has a replica. */
async function onRedis(t: Test, random: Random): Promise<World> {
  const { connect, link, replica, replicated, failOver } = await redisPair(t)
  const holders: Holder[] = []
  for (let index = 0; index < HOLDERS; index++) {
    const { front, url } = await connect()
    const clock = new ManualClock()
    const own = random.fork()
    const { state } = await testState(t, { url, clock, writeTimeout: WRITE_TIMEOUT, random: () => own.next() })
    holders.push({ name: `${index}`, state, clock, front, leases: [], waits: false })
  }
  // Now and then the replica has nothing at all when it takes over.
  if (random.chance(0.3)) link.halfOpen()
  else {
    await holders[0]?.state.set('begun', true)
    await replicated('begun', 'true')
  }
  return {
    holders,
    // It lives in every schedule.
    pace: () => replica.ping(),
    async failOver(lagging) {
      if (lagging) link.halfOpen()
      await failOver()
    },
  }
}

async function runSchedules(t: Test, count: number, worldOf: (t: Test, random: Random) => Promise<World>) {
  let refused = 0
  for (let seed = SEED; seed < SEED + Number(SCHEDULES ?? count); seed++) {
    await t.test(`seed ${seed}`, async (t) => {
      const random = seededRandom(seed)
      const schedule = new Schedule(await worldOf(t, random.fork()), random)
      t.strictSame(await schedule.run(), [], `LEASE_SEED=${seed} LEASE_SCHEDULES=1`)
      refused += schedule.refused
    })
  }
  if (SCHEDULES === undefined) t.ok(refused > 0, `${refused} late writes were refused`)
}

t.setTimeout(120_000)
t.test('schedules of holders in memory', (t) => runSchedules(t, 30, (t, random) => oneProcess(t, 'memory', random)))
t.test('schedules of holders on LMDB', (t) => runSchedules(t, 6, (t, random) => oneProcess(t, 'lmdb', random)))
t.test('schedules of instances on Redis, one of which takes over', (t) => runSchedules(t, 6, onRedis))

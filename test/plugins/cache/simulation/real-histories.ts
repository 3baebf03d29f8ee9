import { setTimeout as wait } from 'node:timers/promises'
import type { Test } from 'tap'
import type { Cache } from '../../../../plugins/cache/index.ts'
import { eventually } from '../../../fixtures/eventually.ts'
import type { Random } from '../../../fixtures/random.ts'
import { violations } from './history.ts'
import { type Action, KEYS, Player } from './player.ts'

/** A real store, and several instances of the cache before it. */
export interface TroubledWorld {
  /** The engines of a fleet. `close` ends them and their connections. The bus is lossy again. */
  instances(window: number): Promise<{ caches: Cache[]; close(): Promise<void> }>
  /** One random trouble, over (but for what it broke) when this resolves; its name. */
  trouble(): Promise<string>
  calm(): void
}

export interface RealHistories {
  world: TroubledWorld
  rounds: number
  /** How many are played at once. */
  sideBySide: number
  /** Of coherence, in ms. */
  window: number
  random: Random
}

const STEPS = 50

const actions: Action[] = [
  ...(['get', 'get', 'get', 'get', 'get', 'load', 'load', 'load', 'staleLoad', 'lateTagLoad', 'set'] as const),
  ...(['delete', 'expire', 'tag', 'pattern', 'prefix', 'clear'] as const),
]

/** Nothing that was invalidated is served, whatever happens to the store; and in peace one instance loads for all. */
export async function playRealHistories(t: Test, histories: RealHistories): Promise<void> {
  const { world, random, window } = histories
  let reads = 0
  let invalidations = 0
  for (let round = 0; round < histories.rounds; round++) {
    const { caches, close } = await world.instances(window)
    try {
      const { players, troubles } = await play(histories, caches, random, round)
      const wrong = players.flatMap(({ history }) => violations(history, window))
      if (wrong.length > 0) t.fail(wrong.slice(0, 5).join('\n'), { seed: random.seed, round, troubles })
      for (const { history } of players) {
        reads += history.reads.length
        invalidations += history.invalidations.filter(({ doneAt }) => doneAt !== undefined).length
      }
      await oneLoadAmongAll(caches, `peace-${round}`)
    } finally {
      await close()
    }
  }
  t.ok(reads > 0 && invalidations > 0, `${reads} reads, ${invalidations} invalidations`)
}

/**
 * Plays so many histories side by side, in a namespace each, through the same troubles, waits for peace, and reads
 * everything once more.
 */
async function play(
  { world, sideBySide, window }: RealHistories,
  caches: Cache[],
  random: Random,
  round: number,
): Promise<{ players: Player[]; troubles: string[] }> {
  const time = {
    get now() {
      return performance.now()
    },
    after: (ms: number) => wait(ms),
  }
  const names = Array.from({ length: sideBySide }, (_, i) => `history-${round}-${i}`)
  const players = names.map(
    (name) =>
      new Player(
        caches.map((cache) => cache.namespace(name)),
        time,
      ),
  )
  const troubles: string[] = []
  let playing = true
  const trouble = async (random: Random) => {
    while (playing) {
      await wait(random.integer(20, 200))
      troubles.push(await world.trouble())
    }
  }
  const act = async (player: Player, random: Random) => {
    for (let step = 0; step < STEPS; step++) {
      await wait(random.chance(0.5) ? random.integer(0, 8) : random.integer(0, 100))
      const loading = random.chance(0.5) ? random.integer(0, 10) : random.integer(0, 300)
      player.act(random.pick(actions), random.integer(0, caches.length - 1), random.pick(KEYS), loading)
    }
  }
  const troubled = trouble(random.fork())
  await Promise.all(players.map((player) => act(player, random.fork())))
  playing = false
  await troubled
  world.calm()
  await Promise.all(players.map((player) => player.settled()))
  await eventually(() => caches.every((cache) => cache.coherent), 10_000)
  await wait(window)
  // What was stored by then, and what the first levels made of it.
  for (let time = 0; time < 2; time++) {
    for (const player of players) {
      for (let at = 0; at < caches.length; at++) for (const key of KEYS) player.get(at, key)
    }
    await Promise.all(players.map((player) => player.settled()))
  }
  return { players, troubles }
}

/** G4, once there is peace: a key that all instances miss at once is loaded by one. */
async function oneLoadAmongAll(caches: Cache[], key: string): Promise<void> {
  const disturbances = () =>
    caches.map((cache) => cache.stats()).reduce((sum, { storeFailures, refused }) => sum + storeFailures + refused, 0)
  for (let attempt = 0; ; attempt++) {
    const before = disturbances()
    let loads = 0
    const ask = (cache: Cache) =>
      Array.from({ length: 20 }, () =>
        cache.getOrSet(`${key}-${attempt}`, async () => {
          loads++
          await wait(20)
          return loads
        }),
      )
    const values = await Promise.all(caches.flatMap(ask))
    if (loads === 1 && values.every((value) => value === 1)) return
    // A machine with too much to do runs into the deadlines also in peace, or hears late of the trouble before and does
    // not store what it loaded; then somebody else loads, too.
    if (disturbances() === before || attempt === 9) throw new Error(`${loads} loads of one key`)
  }
}

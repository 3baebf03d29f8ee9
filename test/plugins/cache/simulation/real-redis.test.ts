import t from 'tap'
import { seededRandom } from '../../../fixtures/random.ts'
import { playRealHistories } from './real-histories.ts'
import { RealWorld } from './real-world.ts'

t.setTimeout(600_000)

const SIDE_BY_SIDE = 25
const ROUNDS = Math.ceil(Number(process.env['CACHE_REDIS_HISTORIES'] ?? 50) / SIDE_BY_SIDE)
/** Decides what is done and what goes wrong; when, exactly, is up to the machine. */
const SEED = Number(process.env['CACHE_SEED'] ?? 1)
const INSTANCES = 3
const WINDOW = 150

t.test(`${ROUNDS * SIDE_BY_SIDE} histories on a Redis in trouble serve nothing that was invalidated`, async (t) => {
  const random = seededRandom(SEED)
  const world = await RealWorld.start(t, INSTANCES, random)
  await playRealHistories(t, { world, random, rounds: ROUNDS, sideBySide: SIDE_BY_SIDE, window: WINDOW })
})

import t from 'tap'
import { realEngine } from './engine.ts'
import { startHistories } from './histories.ts'
import { type Plan, play } from './play.ts'

t.setTimeout(600_000)
const playHistories = startHistories(t)

/** More than most of the faults in `mutation.test.ts` need to be found; `CACHE_HISTORIES=20000` for the rarest. */
const HISTORIES = Number(process.env['CACHE_HISTORIES'] ?? 2_000)
/** Fixed, so that a change is judged by the same histories as the one before; another one explores. */
const SEED = Number(process.env['CACHE_SEED'] ?? 1)

t.test(`${HISTORIES} random histories serve nothing that was invalidated`, async (t) => {
  const { failed, runs, report } = await playHistories({ histories: HISTORIES, seed: SEED })
  t.notOk(failed, report)
  t.equal(runs, HISTORIES)
})

t.test('a stamp renewed while an instance was cut off is not believed without a fresh proof', async (t) => {
  const at = (gap: number, kind: Plan['steps'][number]['kind'], instance: number) => ({
    ...{ gap, kind, instance },
    ...{ key: 0, loading: 0 },
  })
  const steps = [
    ...[at(0, 'load', 1), at(17, 'clear', 0), at(0, 'cutOff', 1), at(492, 'rejoin', 0), at(7, 'load', 0)],
    ...[at(3, 'load', 1), at(0, 'set', 0), at(0, 'set', 0), at(0, 'load', 0), at(1, 'set', 0)],
  ]
  const weather = { drop: 0, duplicate: 0, slow: 0, slowness: 50, fail: 0 }
  t.same(await play(realEngine, { seed: 0, instances: 2, buckets: 1, weather, steps }), [])
})

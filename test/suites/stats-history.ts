import type { Test } from 'tap'
import type { Sample } from '../../plugins/stats/history/sample.ts'
import type { HistoryStore } from '../../plugins/stats/history/stores/contract.ts'

export const RESOLUTION = { interval: 10_000, reach: 3_600_000 }
const COARSE = { interval: 60_000, reach: 21_600_000 }

export function sample(at: number, overrides: Partial<Sample> = {}): Sample {
  const durations = { bounds: [1, 10], counts: [3, 0, 1] }
  return { at, instance: 'one', measured: 10_000, numbers: { requests: 4, loopP99: 0.25 }, durations, ...overrides }
}

/** What every store of the history must do. `make` gives one on fresh, empty storage. */
export async function historySuite(t: Test, make: (t: Test) => Promise<HistoryStore>): Promise<void> {
  const now = Math.floor(Date.now() / 60_000) * 60_000

  t.test('samples come back as they were, the oldest first, of all instances', async (t) => {
    const store = await make(t)
    t.same(await store.read(RESOLUTION, 0, now), [])
    const samples = [sample(now - 20_000), sample(now - 10_000), sample(now)]
    for (const one of [samples[2], samples[0], samples[1]] as Sample[]) await store.append(RESOLUTION, one)
    t.same(await store.read(RESOLUTION, 0, now), samples)
    t.same(await store.read(RESOLUTION, now - 10_000, now - 10_000), [samples[1]], 'both ends are included')
    const other = sample(now, { instance: 'two' })
    await store.append(RESOLUTION, other)
    t.same(new Set(await store.read(RESOLUTION, now, now)), new Set([samples[2], other]))
  })

  t.test('resolutions are kept apart', async (t) => {
    const store = await make(t)
    await store.append(RESOLUTION, sample(now))
    await store.append(COARSE, sample(now, { measured: 60_000 }))
    t.same(await store.read(RESOLUTION, 0, now), [sample(now)])
    t.same(await store.read(COARSE, 0, now), [sample(now, { measured: 60_000 })])
  })

  t.test('what is older than the reach is let go', async (t) => {
    const store = await make(t)
    await store.append(RESOLUTION, sample(now - RESOLUTION.reach - 60_000))
    await store.append(RESOLUTION, sample(now - RESOLUTION.reach + 120_000))
    await store.append(RESOLUTION, sample(now))
    const times = (await store.read(RESOLUTION, 0, now)).map(({ at }) => at)
    t.same(times, [now - RESOLUTION.reach + 120_000, now])
  })
}

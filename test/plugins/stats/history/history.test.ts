import t, { type Test } from 'tap'
import type { InstanceStats } from '../../../../openapi/schemas/stats.ts'
import { History, RESOLUTIONS } from '../../../../plugins/stats/history/history.ts'
import type { HistoryStore } from '../../../../plugins/stats/history/stores/contract.ts'
import { MemoryHistory } from '../../../../plugins/stats/history/stores/memory.ts'
import { ManualClock } from '../../../../plugins/support/manual-clock.ts'

const START = Date.UTC(2026, 0, 1, 10)

function create(
  t: Test,
  { store = new MemoryHistory() as HistoryStore, instance = 'one', clock = new ManualClock(START) } = {},
) {
  const errors: [unknown, string][] = []
  const requests = { total: 0, collecting: async () => {} }
  /** What the cache tells of its only loader. */
  const loader = { loads: 0, time: 0, worst: 0 }
  const history = new History({
    store,
    clock,
    collect: async () => {
      await requests.collecting()
      const counts = [requests.total, 0]
      const section = { total: requests.total, byStatus: {}, duration: { bounds: [1], counts } }
      const cache = { loaders: { 'n/k:*': { ...loader } } }
      return { instance, cache, process: { requests: section } } as unknown as InstanceStats
    },
    onError: (error, message) => errors.push([error, message]),
  })
  history.start()
  t.teardown(() => history.close())
  /** Time goes by as it does: what is asked for is answered before the next second. */
  const pass = async (seconds: number) => {
    for (let second = 0; second < seconds; second++) {
      clock.advance(1_000)
      await new Promise(setImmediate)
    }
  }
  return { history, clock, requests, loader, errors, pass }
}

t.test('every ten seconds a point, with what happened in between', async (t) => {
  const { history, requests, pass } = create(t)
  await pass(16)
  requests.total = 40
  await pass(10)
  requests.total = 100
  await pass(10)
  const { interval, instances, points } = await history.read()
  t.equal(interval, 10_000)
  t.same(instances, ['one'])
  t.match(points, [
    { at: START + 10_000, measured: 15_000, requests: 0 },
    { at: START + 20_000, measured: 10_000, requests: 40 },
    { at: START + 30_000, measured: 10_000, requests: 60 },
  ])
})

t.test('a question is answered in the finest resolution that reaches back as far', async (t) => {
  const { history, requests, pass, clock } = create(t)
  for (let minute = 0; minute < 11; minute++) {
    requests.total += 60
    await pass(60)
  }
  const now = clock.now()
  for (const [hours, interval] of [
    [1, 10_000],
    [6, 60_000],
    [24, 300_000],
    [240, 300_000],
  ] as const) {
    const answer = await history.read({ from: now - hours * 3_600_000 })
    t.equal(answer.interval, interval)
    const total = answer.points.reduce((sum, { requests = 0 }) => sum + requests, 0)
    t.ok(total >= 540 && total <= 660, `${total} requests in the points of ${hours} h`)
  }
  const { points } = await history.read({ from: now - 120_000, to: now - 60_000 })
  t.equal(points.length, 7)
  t.same((await history.read({ from: now + 1, to: now })).points, [])
  await t.rejects(history.read({ form: 1 } as never), { code: 'STATEFUL_INVALID_OPTION' })
})

t.test('the slowest load of a minute is in the sample of that minute, whenever it ended', async (t) => {
  const { history, loader, pass, clock } = create(t)
  await pass(70)
  Object.assign(loader, { loads: 3, time: 900, worst: 700 })
  await pass(10)
  loader.worst = 0
  await pass(60)
  const { points } = await history.read({ from: clock.now() - 6 * 3_600_000 })
  t.same(
    points.map(({ loaders }) => loaders),
    [undefined, { 'n/k:*': { loads: 3, time: 900, worst: 700 } }],
  )
})

t.test('no answer is longer than a chart is wide', (t) => {
  for (const { interval, reach } of RESOLUTIONS) t.ok(reach / interval <= 360)
  t.end()
})

t.test('of several instances, their sum, or one of them', async (t) => {
  const [store, clock] = [new MemoryHistory(), new ManualClock(START)]
  const one = create(t, { store, clock })
  const two = create(t, { store, clock, instance: 'two' })
  one.requests.total = 3
  two.requests.total = 4
  await one.pass(16)
  const all = await two.history.read()
  t.same(all.instances.sort(), ['one', 'two'])
  t.match(all.points, [{ instances: 2, requests: 7 }])
  const own = await one.history.read({ instance: 'two' })
  t.match(own, { points: [{ instances: 1, requests: 4 }] })
  t.equal(own.instances.length, 2, 'the others can still be chosen')
  t.same((await one.history.read({ instance: 'three' })).points, [])
})

t.test('a storage that is away costs the points of that time, and is told', async (t) => {
  const store = new MemoryHistory()
  const gone = new Error('gone')
  let away = true
  const failing: HistoryStore = {
    read: (...range) => store.read(...range),
    append: (...what) => (away ? Promise.reject(gone) : store.append(...what)),
  }
  const { history, errors, pass } = create(t, { store: failing })
  await pass(16)
  t.same(errors, [[gone, 'the history of the statistics has a gap']])
  away = false
  await pass(10)
  t.match((await history.read()).points, [{ at: START + 20_000 }])
})

t.test('a storage that hangs is not asked again meanwhile, and closing waits for it', async (t) => {
  const { history, requests, pass, clock } = create(t)
  let asked = 0
  let answer = () => {}
  requests.collecting = () => {
    asked++
    return new Promise((resolve) => {
      answer = resolve
    })
  }
  await pass(50)
  t.equal(asked, 1)
  let closed = false
  const closing = history.close().then(() => {
    closed = true
  })
  await new Promise(setImmediate)
  t.notOk(closed)
  answer()
  await closing
  t.equal(clock.timers, 0)
})

t.test('a wall clock that jumps changes where points stand, not what they measured', async (t) => {
  const { history, clock, pass } = create(t)
  await pass(15)
  clock.jump(-3_600_000)
  await pass(20)
  const { points } = await history.read({ from: START - 7_200_000, to: START + 60_000 })
  for (const { measured } of points) t.ok(measured <= 35_000, `${measured}`)
  t.ok(points.length >= 1)
})

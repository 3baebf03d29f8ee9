import { spawnSync } from 'node:child_process'
import { mock } from 'node:test'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { systemClock } from '../../../plugins/support/clock.ts'
import { ManualClock } from '../../../plugins/support/manual-clock.ts'

t.test('the system clock tells both times and fires its timers', async (t) => {
  t.ok(Math.abs(systemClock.now() - Date.now()) < 1_000)
  const before = systemClock.monotonic()
  // The timers are unref'd: something else has to keep this test alive until they fire.
  const alive = setInterval(() => {}, 1_000)
  await new Promise<void>((resolve) => systemClock.after(1, resolve))
  t.ok(systemClock.monotonic() >= before)
  let ticks = 0
  await new Promise<void>((resolve) => {
    const timer = systemClock.every(1, () => {
      ticks += 1
      if (ticks < 3) return
      timer.cancel()
      resolve()
    })
  })
  t.equal(ticks, 3)
  clearInterval(alive)
})

t.test('a timer of any length fires at its time, not at once', async (t) => {
  // Node fires a timer of more than 2^31-1 ms after 1 ms.
  const longest = 2 ** 31 - 1
  const real = [longest + 1, 3_153_600_000_000].flatMap((ms) => [
    systemClock.after(ms, () => t.fail(`${ms} ms are not over`)),
    systemClock.every(ms, () => t.fail(`${ms} ms are not over`)),
  ])
  await new Promise((resolve) => setTimeout(resolve, 10))
  for (const timer of real) timer.cancel()

  t.before(() => mock.timers.enable({ apis: ['setTimeout', 'setInterval'] }))
  t.teardown(() => mock.timers.reset())
  for (const ms of [1, longest - 1, longest, longest + 1, 3 * longest, 3 * longest + 7]) {
    let fired = 0
    let ticks = 0
    systemClock.after(ms, () => fired++)
    const repeated = systemClock.every(ms, () => ticks++)
    const cancelled = systemClock.after(ms, () => t.fail('cancelled'))
    const go = (by: number) => {
      for (let left = by; left > 0; left -= longest) mock.timers.tick(Math.min(left, longest))
    }
    go(ms - 1)
    t.same({ fired, ticks }, { fired: 0, ticks: 0 }, `not before ${ms} ms`)
    cancelled.cancel()
    go(1)
    t.same({ fired, ticks }, { fired: 1, ticks: 1 }, `after ${ms} ms`)
    go(ms)
    t.same({ fired, ticks }, { fired: 1, ticks: 2 }, `after twice ${ms} ms`)
    repeated.cancel()
    go(ms)
    t.equal(ticks, 2, 'cancelled')
  }
})

t.test('a cancelled timer does not fire', async (t) => {
  systemClock.after(0, () => t.fail('cancelled')).cancel()
  systemClock.every(0, () => t.fail('cancelled')).cancel()
  await new Promise((resolve) => setTimeout(resolve, 5))
})

t.test('no timer keeps a process alive', async (t) => {
  const clock = fileURLToPath(new URL('../../../plugins/support/clock.ts', import.meta.url))
  const source = `import { systemClock } from ${JSON.stringify(clock)}
    systemClock.after(3_600_000, () => {}); systemClock.every(3_600_000, () => {})`
  const args = [...process.execArgv, '--input-type=module', '-e', source]
  const { status, signal } = spawnSync(process.execPath, args, { timeout: 20_000 })
  t.same({ status, signal }, { status: 0, signal: null })
})

t.test('the manual clock fires in the order of time, at its time, and never by itself', async (t) => {
  const clock = new ManualClock(1_000)
  const fired: [string, number, number][] = []
  const note = (name: string) => () => fired.push([name, clock.monotonic(), clock.now()])
  clock.after(30, note('late'))
  clock.after(10, note('early'))
  const repeating = clock.every(15, note('every'))
  clock.after(20, note('cancelled')).cancel()
  clock.advance(30)
  t.same(fired, [
    ['early', 10, 1_010],
    ['every', 15, 1_015],
    ['late', 30, 1_030],
    ['every', 30, 1_030],
  ])
  repeating.cancel()
  t.equal(clock.timers, 0)
  clock.jump(-500)
  t.equal(clock.now(), 530)
  t.equal(clock.monotonic(), 30, 'a jump of the wall clock moves only that')
})

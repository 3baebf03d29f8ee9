import { setTimeout as delay } from 'node:timers/promises'
import t from 'tap'
import { ManualClock } from '../../../../plugins/support/manual-clock.ts'
import { startRedis } from '../../../fixtures/redis-server.ts'
import { testState } from '../../../fixtures/state.ts'

/** Longer than any test: what closing waits for is the store. */
const WRITE_TIMEOUT = 3_600_000

t.test('closing does not wait for the moment at which a store that is away would be asked again', async (t) => {
  const redis = await startRedis(t)
  const url = { url: `redis://127.0.0.1:${redis.port}`, redis: { commandTimeout: 200 } }
  // A clock that stands still: a pause that closing does not end never ends.
  const { state, errors, close } = await testState(t, { url, clock: new ManualClock(), writeTimeout: WRITE_TIMEOUT })
  await state.set('k', 1)
  redis.process().kill('SIGKILL')
  const write = state.set('k', 2)
  const refused = t.rejects(write, { code: /^STATEFUL_/ })
  while (errors.length < 1) await delay(2)
  await close()
  await refused
})

t.test('nor while it takes reads and no writes', async (t) => {
  let asked = 0
  const { state, errors, close } = await testState(t, {
    clock: new ManualClock(),
    writeTimeout: WRITE_TIMEOUT,
    wrap: (log) =>
      new Proxy(log, {
        get(target, name) {
          const member = Reflect.get(target, name)
          if (name !== 'commit') return typeof member === 'function' ? member.bind(target) : member
          return async () => {
            asked++
            throw Object.assign(new Error('gone'), { code: 'ECONNRESET' })
          }
        },
      }),
  })
  const refused = t.rejects(state.set('k', 2), { code: /^STATEFUL_/ })
  while (errors.length < 1) await delay(2)
  const before = asked
  await close()
  await refused
  t.ok(asked - before <= 2, `asked ${asked - before} times more`)
})

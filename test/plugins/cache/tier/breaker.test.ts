import t from 'tap'
import { Breaker, type BreakerOptions } from '../../../../plugins/cache/tier/breaker.ts'
import { DEFERRED } from '../../../../plugins/cache/tier/contract.ts'
import { encode } from '../../../../plugins/cache/tier/record.ts'
import { Stage, turn } from '../staged-store.ts'

function open(options: Partial<BreakerOptions> = {}) {
  const stage = new Stage()
  const { tier, line } = stage.connect()
  const changes: boolean[] = []
  const breaker = new Breaker(tier, {
    ...{ clock: stage.clock, deadline: 100, failures: 4, pause: 1_000, journal: false },
    onChange: (isOpen) => changes.push(isOpen),
    ...options,
  })
  /** Reads, with the store reachable or not; answers whether it succeeded. */
  const read = async (reachable: boolean) => {
    line.cut = !reachable
    return breaker.get('n', ['k']).then(
      () => true,
      () => false,
    )
  }
  return { stage, line, breaker, changes, read }
}

t.test('so many failures in a row open it; then nobody is sent to the store', async (t) => {
  const { breaker, line, changes, read } = open()
  for (let i = 0; i < 3; i++) t.equal(await read(false), false)
  t.equal(breaker.awaySince('n'), undefined)
  await read(false)
  t.not(breaker.awaySince('n'), undefined)
  t.strictSame(changes, [true])
  const { get } = line.calls
  t.equal(await read(true), false)
  t.equal(line.calls['get'], get)
})

t.test('a rate of errors opens it, also when none come in a row', async (t) => {
  const bad = open()
  for (let i = 0; i < 20; i++) await bad.read(i % 2 === 0)
  t.strictSame(bad.changes, [true], 'every second')
  const good = open()
  for (let i = 0; i < 200; i++) await good.read(i % 4 !== 0)
  t.strictSame(good.changes, [], 'every fourth is still better than nothing')
})

t.test('a store that answers, but too late, opens it', async (t) => {
  const { stage, breaker, line, changes } = open()
  for (let i = 0; i < 4; i++) {
    const answer = line.holdAnswer('get')
    const late = t.rejects(breaker.get('n', ['k']), { message: 'the store took too long' })
    await answer.held
    stage.clock.advance(100)
    await late
    answer.release()
    await turn()
  }
  t.strictSame(changes, [true], 'what comes in the end does not count as a success')
})

t.test('after a pause one step tries; its failure keeps it open, its success closes it', async (t) => {
  const { stage, breaker, line, changes, read } = open()
  for (let i = 0; i < 4; i++) await read(false)
  await t.rejects(breaker.head('n'))
  t.equal(line.calls['head'], undefined, 'too early')
  stage.clock.advance(1_000)
  await t.rejects(breaker.head('n'))
  t.equal(line.calls['head'], 1)
  t.strictSame(changes, [true])
  line.cut = false
  const answer = line.holdAnswer('head')
  const probe = breaker.head('n')
  await answer.held
  await t.rejects(breaker.head('n'), { message: 'the circuit is open' }, 'one at a time')
  t.equal(await read(true), false, 'nobody else meanwhile')
  answer.release()
  await probe
  t.strictSame(changes, [true, false])
  t.equal(breaker.awaySince('n'), undefined)
  t.equal(await read(true), true)
})

t.test('kept invalidations are carried out before it closes', async (t) => {
  const { stage, breaker, line, changes, read } = open({ journal: true })
  const data = encode({ freshUntil: 0, deadAt: 0, cost: 0, stamps: [], value: 1 })
  const entries = ['k', 'l', 'user:1', 'soft'].map((key) => ({ key, data, ttl: 60_000 }))
  await breaker.put('n', entries, [])
  line.cut = true
  for (const step of [
    breaker.invalidate('n', { keys: ['k'] }),
    breaker.invalidate('n', { pattern: 'user:*' }),
    breaker.expire('n', ['soft']),
  ]) {
    t.match(await step, { epoch: DEFERRED })
  }
  t.strictSame(changes, [true], 'at once: what is forbidden could be read otherwise')
  line.cut = false
  t.equal(await read(true), false)

  stage.clock.advance(1_000)
  const answer = line.holdAnswer('expire')
  const probe = breaker.head('n')
  await answer.held
  t.equal(await read(true), false, 'not before all of them are done')
  t.strictSame(changes, [true])
  answer.release()
  await probe
  t.strictSame(changes, [true, false])
  const found = await breaker.get('n', ['k', 'l', 'user:1', 'soft'])
  t.strictSame(
    found.map((one) => one !== undefined),
    [false, true, false, true],
  )
  t.equal(found[3]?.[16], 'x'.charCodeAt(0), 'marked as stale')
})

t.test('when the store goes away again meanwhile, the rest is kept', async (t) => {
  const { stage, breaker, line, changes } = open({ journal: true })
  const data = encode({ freshUntil: 0, deadAt: 0, cost: 0, stamps: [], value: 1 })
  await breaker.put(
    'n',
    [
      { key: 'k', data, ttl: 60_000 },
      { key: 'l', data, ttl: 60_000 },
    ],
    [],
  )
  line.cut = true
  await breaker.invalidate('n', { keys: ['k'] })
  await breaker.invalidate('n', { keys: ['l'] })
  line.cut = false
  stage.clock.advance(1_000)
  const first = line.holdAnswer('invalidate')
  const probe = t.rejects(breaker.head('n'))
  await first.held
  line.cut = true
  first.release()
  await probe
  t.strictSame(changes, [true])
  line.cut = false
  stage.clock.advance(1_000)
  await breaker.head('n')
  t.strictSame(changes, [true, false])
  t.strictSame(await breaker.get('n', ['k', 'l']), [undefined, undefined])
})

t.test('more than can be kept become one: everything of their namespaces', async (t) => {
  const { stage, breaker, line } = open({ journal: true })
  const { generation } = await breaker.head('n')
  line.cut = true
  for (let i = 0; i <= 10_000; i++) await breaker.invalidate('n', { keys: [`k${i}`] })
  line.cut = false
  stage.clock.advance(1_000)
  const before = line.calls['invalidate'] ?? 0
  await breaker.head('n')
  t.equal((line.calls['invalidate'] ?? 0) - before, 1)
  t.not((await breaker.head('n')).generation, generation)
})

import { isDeepStrictEqual } from 'node:util'
import fc from 'fast-check'
import t from 'tap'
import { seededRandom } from '../fixtures/random.ts'
import { HistoryRecorder, type Operation } from './history.ts'
import { checkLinearizable, UndecidedError } from './linearizability.ts'
import { type KeyedOp, keyedRegisters, type Model, type RegisterOp, register, type SpaceOp, space } from './models.ts'

const ok = <Op>(process: number, invoke: number, returned: number, op: Op, ...result: unknown[]): Operation<Op> => ({
  process,
  op,
  invoke,
  return: returned,
  outcome: 'ok',
  ...(result.length > 0 ? { result: result[0] } : {}),
})
const unknown = <Op>(process: number, invoke: number, op: Op): Operation<Op> => ({
  process,
  op,
  invoke,
  outcome: 'unknown',
})
const read: RegisterOp = { op: 'read' }
const write = (value: unknown): RegisterOp => ({ op: 'write', value })
const increment: RegisterOp = { op: 'increment' }
const swap = (expected: unknown, value: unknown): RegisterOp => ({ op: 'compareAndSet', expected, value })
const accepts = (history: Operation<RegisterOp>[]) => checkLinearizable(history, register).linearizable

t.test('accepts what one atomic register could have answered', async (t) => {
  t.ok(accepts([]))
  t.ok(accepts([ok(1, 0, 1, read, undefined), ok(1, 2, 3, write('a')), ok(2, 4, 5, read, 'a')]))
  t.ok(accepts([ok(1, 0, 9, write('a')), ok(2, 1, 2, read, undefined), ok(2, 3, 4, read, 'a')]), 'concurrent')
  t.ok(accepts([ok(1, 0, 9, write(1)), ok(2, 1, 8, write(2)), ok(3, 2, 3, read, 2), ok(3, 4, 5, read, 1)]))
  t.ok(accepts([ok(1, 0, 5, write(1)), ok(2, 5, 6, read, undefined)]), 'equal times prove no order')
  t.ok(accepts([ok(1, 0, 1, increment, 1), ok(2, 2, 3, swap(1, 7), true), ok(1, 4, 5, swap(1, 8), false)]))
  t.ok(accepts([ok(1, 0, 1, write({ a: 1, b: 2 })), ok(1, 2, 3, read, { b: 2, a: 1 })]), 'values, not identities')
})

t.test('refuses what none could', async (t) => {
  const planted: Record<string, Operation<RegisterOp>[]> = {
    'a stale read': [ok(1, 0, 1, write(1)), ok(1, 2, 3, write(2)), ok(2, 4, 5, read, 1)],
    'an acknowledged write that is lost': [ok(1, 0, 1, write(1)), ok(2, 2, 3, read, undefined)],
    'a lost update': [ok(1, 0, 5, increment, 1), ok(2, 1, 6, increment, 1)],
    'two winners of one swap': [
      ok(0, 0, 1, write('free')),
      ok(1, 2, 5, swap('free', 'a'), true),
      ok(2, 3, 6, swap('free', 'b'), true),
    ],
    'an increment applied twice': [ok(1, 0, 1, increment, 1), ok(2, 2, 3, read, 2)],
    'a retried increment applied twice': [unknown(1, 0, increment), ok(2, 1, 2, read, 1), ok(2, 3, 4, read, 2)],
    'a value never written': [ok(1, 0, 1, write(1)), ok(2, 2, 3, read, 99)],
    'a read from the future': [ok(2, 0, 1, read, 1), ok(1, 2, 3, write(1))],
    'reads that go back': [ok(1, 0, 9, write(1)), ok(2, 1, 2, read, 1), ok(3, 3, 4, read, undefined)],
    'a deleted value that revives': [ok(1, 0, 1, write(1)), ok(1, 2, 3, { op: 'delete' }, true), ok(2, 4, 5, read, 1)],
    'the effect of a refused write': [
      { process: 1, op: write(1), invoke: 0, return: 1, outcome: 'fail' },
      ok(2, 2, 3, read, 1),
    ],
    'a write of unknown outcome seen, then unseen': [
      ok(1, 0, 1, write('old')),
      unknown(1, 2, write('new')),
      ok(2, 3, 4, read, 'new'),
      ok(2, 5, 6, read, 'old'),
    ],
    'an effect before its invocation': [ok(2, 0, 1, read, 1), unknown(1, 2, write(1))],
  }
  for (const [name, history] of Object.entries(planted)) t.notOk(accepts(history), name)
})

t.test('an operation of unknown outcome may take effect late, or never, but only once', async (t) => {
  const late = [unknown(1, 0, write(1)), ok(2, 1, 2, write(2)), ok(2, 3, 4, read, 2)]
  t.ok(accepts(late), 'never')
  t.ok(accepts([...late, ok(3, 100, 101, read, 1)]), 'long after it timed out')
  t.notOk(accepts([...late, ok(3, 100, 101, read, 1), ok(2, 102, 103, write(3)), ok(3, 104, 105, read, 1)]), 'twice')
})

t.test('names the contradiction and nothing else', async (t) => {
  const noise = Array.from({ length: 20 }, (_, i) => ok(3, 100 + 2 * i, 101 + 2 * i, write(`n${i}`)))
  const bug = [ok(1, 0, 1, write('a')), ok(1, 2, 3, write('b')), ok(2, 4, 5, read, 'b'), ok(2, 6, 7, read, 'a')]
  const verdict = checkLinearizable([...bug, ...noise], register)
  if (verdict.linearizable) return t.fail('it is not')
  t.equal(verdict.counterexample.length, 3)
  t.match(verdict.report, /not linearizable: 'all'/)
  t.match(verdict.report, /process 2 {2}read\(\)\s+→ "a"/)
  t.match(verdict.report, /21 other operations/)
  t.match(verdict.report, /longest order found: write\("a"\) → .*the state is "b"/)
})

t.test('never shortens to a contradiction that was not there', async (t) => {
  // Without write(1) the first read alone would look wrong; it is the second that is.
  const verdict = checkLinearizable([ok(1, 0, 1, write(1)), ok(2, 2, 3, read, 1), ok(2, 4, 5, read, 7)], register)
  if (verdict.linearizable) return t.fail('it is not')
  t.strictSame(
    verdict.counterexample.map(({ result }) => result),
    [7],
  )
})

t.test('keys are checked apart, a space as a whole', async (t) => {
  const on = (key: string, op: RegisterOp): KeyedOp => ({ ...op, key })
  const good = [ok(1, 0, 1, on('x', write(1))), ok(2, 2, 3, on('y', read), undefined), ok(2, 4, 5, on('x', read), 1)]
  t.ok(checkLinearizable(good, keyedRegisters).linearizable)
  t.match(checkLinearizable([...good, ok(2, 6, 7, on('y', read), 1)], keyedRegisters), {
    linearizable: false,
    partition: 'y',
    report: /read\(y\) +→ 1/,
  })
  const both: SpaceOp = { op: 'transaction', ops: [on('x', write(1)), on('y', write(1))] }
  const torn: Operation<SpaceOp>[] = [
    ok(1, 0, 9, both),
    ok(2, 1, 2, on('x', read), 1),
    ok(2, 3, 4, on('y', read), undefined),
  ]
  t.match(checkLinearizable(torn, space), {
    linearizable: false,
    report: /transaction\(write\(x, 1\), write\(y, 1\)\)/,
  })
  const snapshot = (state: unknown) => [ok(1, 0, 9, both), ok(2, 1, 2, { op: 'snapshot' } as SpaceOp, state)]
  t.ok(checkLinearizable(snapshot({ y: 1, x: 1 }), space).linearizable)
  t.ok(checkLinearizable(snapshot({}), space).linearizable)
  t.notOk(checkLinearizable(snapshot({ x: 1 }), space).linearizable)
})

t.test('a malformed history is an error, not a verdict', async (t) => {
  t.throws(() => accepts([{ process: 1, op: read, invoke: 0, outcome: 'ok' }]), TypeError)
  t.throws(() => accepts([ok(1, 5, 4, read)]), TypeError)
})

t.test('gives up in bounded time and says so', async (t) => {
  // Thirty concurrent increments of unknown outcome with distinct steps: 2^30 sums, none of them the one read.
  const history = Array.from({ length: 30 }, (_, i) => unknown<RegisterOp>(i, i, { op: 'increment', by: 2 ** i }))
  history.push(ok(99, 100, 101, read, 0.5))
  t.throws(() => checkLinearizable(history, register, { maxSteps: 10_000 }), UndecidedError)
})

t.test('a long history with bounded concurrency is quick', async (t) => {
  const history = simulate(seededRandom(7), { operations: 5_000, processes: 8, keys: 1, unknown: 0.002 })
  t.match(checkLinearizable(history, keyedRegisters), { linearizable: true })
})

t.test('whatever an atomic register does is accepted', async () => {
  fc.assert(
    fc.property(fc.nat(), fc.integer({ min: 1, max: 6 }), fc.integer({ min: 1, max: 40 }), (seed, processes, size) => {
      const history = simulate(seededRandom(seed), { operations: size, processes, keys: 2, unknown: 0.15 })
      const verdict = checkLinearizable(history, keyedRegisters)
      if (!verdict.linearizable) throw new Error(verdict.report)
    }),
    { numRuns: 400 },
  )
})

t.test('agrees with brute force on small histories, also on broken ones', async (t) => {
  let refused = 0
  fc.assert(
    fc.property(fc.nat(), (seed) => {
      const random = seededRandom(seed)
      const history = simulate(random, { operations: 6, processes: 3, keys: 1, unknown: 0.2 })
      const damaged = random.chance(0.2) ? history : damage(history, random)
      const expected = bruteForce(damaged, keyedRegisters)
      const verdict = checkLinearizable(damaged, keyedRegisters)
      if (verdict.linearizable !== expected) throw new Error(`brute force says ${expected}: ${JSON.stringify(damaged)}`)
      if (verdict.linearizable) return
      refused++
      // A counterexample, together with everything else of unknown outcome, must itself be one.
      const weaker = damaged.map((o) => {
        const kept = verdict.counterexample.some((c) => c.invoke === o.invoke && c.process === o.process)
        return kept || o.outcome === 'fail' ? o : unknown(Number(o.process), o.invoke, o.op)
      })
      if (bruteForce(weaker, keyedRegisters)) throw new Error(`no counterexample: ${verdict.report}`)
    }),
    { numRuns: 1_000 },
  )
  t.ok(refused > 100, `${refused} of them were really broken`)
})

t.test('the recorder tells ok from fail from unknown, and real concurrency', async (t) => {
  const recorder = new HistoryRecorder<RegisterOp>((error) =>
    (error as Error).message === 'refused' ? 'fail' : 'unknown',
  )
  let value: unknown
  await Promise.all([
    recorder.run('a', write(1), async () => {
      value = 1
    }),
    recorder.run('b', read, async () => value),
  ])
  await recorder.run('c', write(2), () => Promise.reject(new Error('refused')))
  await recorder.run('d', write(3), () => Promise.reject(new Error('timeout')))
  void recorder.run('e', write(4), () => new Promise(() => {}))
  t.strictSame(
    recorder.operations.map(({ outcome }) => outcome),
    ['ok', 'ok', 'fail', 'unknown', 'unknown'],
  )
  t.match(recorder.operations[1], { invoke: 1, result: 1 })
  t.ok(checkLinearizable([...recorder.operations], register).linearizable)
})

interface Simulation {
  operations: number
  processes: number
  keys: number
  /** Share of operations whose caller gives up; their effect comes later or never. */
  unknown: number
}

/** Clients of an atomic register: each operation takes effect at one moment between its call and its return. */
function simulate(random: ReturnType<typeof seededRandom>, options: Simulation): Operation<KeyedOp>[] {
  const states = new Map<string, unknown>()
  const history: Operation<KeyedOp>[] = []
  const idle = new Set(Array.from({ length: options.processes }, (_, i) => i))
  const running: { operation: Operation<KeyedOp>; applied: boolean; abandoned: boolean }[] = []
  let time = 0
  let started = 0
  while (started < options.operations || running.some(({ abandoned }) => !abandoned)) {
    time++
    const current = running.length > 0 && random.chance(0.7) ? random.pick(running) : undefined
    if (!current) {
      if (started === options.operations || idle.size === 0) continue
      const process = random.pick([...idle])
      idle.delete(process)
      const operation: Operation<KeyedOp> = { process, op: anyOp(random, options), invoke: time, outcome: 'unknown' }
      history.push(operation)
      running.push({ operation, applied: false, abandoned: false })
      started++
    } else if (!current.applied) {
      const { op } = current.operation
      const { state, result } = keyedRegisters.apply(states.get(op.key), op)
      states.set(op.key, state)
      current.applied = true
      if (current.abandoned) running.splice(running.indexOf(current), 1)
      else current.operation.result = result
    } else {
      current.operation.outcome = 'ok'
      current.operation.return = time
      idle.add(Number(current.operation.process))
      running.splice(running.indexOf(current), 1)
    }
    for (const pending of running) {
      if (pending.applied || pending.abandoned || !random.chance(options.unknown / options.processes)) continue
      pending.abandoned = true
      idle.add(Number(pending.operation.process))
    }
  }
  return history.map(({ result, ...operation }) => (operation.outcome === 'ok' ? { ...operation, result } : operation))
}

function anyOp(random: ReturnType<typeof seededRandom>, { keys }: Simulation): KeyedOp {
  const key = `k${random.integer(1, keys)}`
  const value = random.integer(1, 3)
  return random.pick<KeyedOp>([
    { op: 'read', key },
    { op: 'read', key },
    { op: 'write', key, value },
    { op: 'increment', key },
    { op: 'compareAndSet', key, expected: random.pick([undefined, 1, 2]), value },
    { op: 'delete', key },
  ])
}

/** Changes one answer, one time or one outcome. */
function damage(history: Operation<KeyedOp>[], random: ReturnType<typeof seededRandom>): Operation<KeyedOp>[] {
  const victim = random.pick(history)
  return history.map((operation) => {
    if (operation !== victim || operation.outcome !== 'ok') return operation
    const { result: _, ...rest } = operation
    return random.pick<() => Operation<KeyedOp>>([
      () => ({ ...operation, result: random.pick([undefined, 1, 2, 3, true, false]) }),
      () => ({ ...operation, return: operation.invoke }),
      () => ({ ...rest, outcome: 'fail' }),
      () => ({ ...rest, outcome: 'unknown' }),
    ])()
  })
}

/** Tries every choice of what took effect, in every order. Knows nothing of the checker's shortcuts. */
function bruteForce<State, Op>(history: Operation<Op>[], model: Model<State, Op>): boolean {
  const operations = history.filter(({ outcome }) => outcome !== 'fail')
  const precedes = (a: Operation<Op>, b: Operation<Op>) => a.outcome === 'ok' && (a.return as number) < b.invoke
  const extend = (state: State, rest: Operation<Op>[]): boolean =>
    rest.every(({ outcome }) => outcome === 'unknown') ||
    rest.some((next) => {
      if (rest.some((other) => other !== next && precedes(other, next))) return false
      const applied = model.apply(state, next.op)
      if (next.outcome === 'ok' && 'result' in next && !isDeepStrictEqual(applied.result, next.result)) return false
      return extend(
        applied.state,
        rest.filter((other) => other !== next),
      )
    })
  return extend(model.initial, operations)
}

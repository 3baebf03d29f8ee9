import t from 'tap'
import { noCounts } from '../../../../plugins/state/writing/counts.ts'
import { PendingWrites } from '../../../../plugins/state/writing/pending-writes.ts'
import { Write } from '../../../../plugins/state/writing/write.ts'
import { ManualClock } from '../../../../plugins/support/manual-clock.ts'

const TIMEOUT = 1_000

function setUp() {
  const clock = new ManualClock()
  const counts = noCounts()
  const writes = new PendingWrites({ space: 'app', clock, timeout: TIMEOUT, counts, onExpired: () => {} })
  let n = 0
  const open = () => {
    const write = new Write({ ops: [] }, `w.${n++}`, clock.monotonic() + TIMEOUT, 0)
    write.promise.catch(() => {})
    writes.add(write)
    return write
  }
  return { clock, counts, writes, open }
}

t.test('a write is counted from its call to its outcome, once', (t) => {
  const { writes, open } = setUp()
  const [first, second] = [open(), open()]
  t.equal(writes.size, 2)
  writes.settle(first, undefined)
  writes.settle(first, undefined)
  writes.drop(first)
  t.equal(writes.size, 1)
  writes.drop(second)
  t.equal(writes.size, 0)
  t.end()
})

t.test('among many that are over, each that is not gets its outcome by its deadline', async (t) => {
  const { clock, counts, writes, open } = setUp()
  const early = open()
  clock.advance(500)
  const late = open()
  for (let n = 0; n < 10_000; n++) writes.settle(open(), undefined)
  t.equal(writes.size, 2)
  clock.advance(500)
  await t.rejects(early.promise, { code: 'STATEFUL_STATE_TIMEOUT' })
  t.equal(late.settled, false)
  t.equal(writes.size, 1)
  clock.advance(500)
  await t.rejects(late.promise, { code: 'STATEFUL_STATE_TIMEOUT' })
  t.equal(counts.timeouts, 2)
  t.equal(writes.size, 0)
})

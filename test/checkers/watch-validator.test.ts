import fc from 'fast-check'
import t from 'tap'
import type { Json, Op } from '../../openapi/schemas/state.ts'
import { applyOp } from '../../plugins/state/values/apply-op.ts'
import { type Random, seededRandom } from '../fixtures/random.ts'
import { type EpochLog, type Seen, validateWatch, type WatchOptions } from './watch-validator.ts'

type FullSync = Extract<Seen, { type: 'fullSync' }>
type Change = Extract<Seen, { type: 'change' }>

const set = (key: string, value: Json): Op => ({ op: 'set', key, value })
const commit = (revision: number, ...ops: Op[]) => ({ prev: revision - 1, revision, ops })

const first: EpochLog = {
  epoch: '1:a',
  base: { revision: 0, state: {} },
  commits: [
    commit(1, set('x', 1)),
    commit(2, set('x', 2), set('y', 2)),
    { ...commit(3, { op: 'increment', key: 'n' }), clientId: 'me' },
    commit(4, { op: 'delete', key: 'y' }),
    commit(5, { op: 'increment', key: 'n', value: 4 }),
  ],
}
/** Continues the first epoch where it ended: a clean failover. */
const second: EpochLog = {
  epoch: '2:b',
  base: { revision: 5, state: { x: 2, n: 5 } },
  commits: [commit(6, set('x', 6))],
}
/** Another history: the tail of the first epoch was lost. */
const forked: EpochLog = {
  epoch: '2:c',
  base: { revision: 4, state: { x: 2, n: 1 } },
  commits: [commit(5, set('z', 5))],
}

const sync = (revision: number, state: FullSync['state'], epoch = '1:a'): Seen => ({
  type: 'fullSync',
  epoch,
  revision,
  state,
})
const change = (revision: number, ops?: readonly Op[], prev = revision - 1, epoch = '1:a'): Change => ({
  type: 'change',
  epoch,
  prev,
  revision,
  ops: ops ?? first.commits.find((c) => c.revision === revision)?.ops ?? [],
})
const resume = (revision: number, epoch = '1:a'): Seen => ({ type: 'resume', since: { epoch, revision } })
const bookmark = (revision: number, epoch = '1:a'): Seen => ({ type: 'bookmark', epoch, revision })

const all = [1, 2, 3, 4, 5].map((revision) => change(revision))
const start = sync(0, {})
const violated = (seen: Seen[], options?: WatchOptions, log = [first]) =>
  validateWatch(log, seen, options).map(({ guarantee }) => guarantee)

t.test('accepts every right way to see a log', async (t) => {
  t.strictSame(violated([start, ...all]), [])
  t.strictSame(violated([sync(5, { x: 2, n: 5 })]), [], 'only a full sync')
  t.strictSame(violated([sync(2, { x: 2, y: 2 }), ...all.slice(2)]), [], 'from the middle')
  t.strictSame(violated([start, ...all.slice(0, 2)], { complete: false }), [], 'not yet at the end')
  t.strictSame(violated([start, change(1), resume(1), ...all.slice(1)]), [], 'resumed')
  t.strictSame(violated([start, ...all.slice(0, 4), resume(1), ...all.slice(1)]), [], 'resumed from an older position')
  t.strictSame(violated([start, change(1), resume(1), sync(5, { x: 2, n: 5 })]), [], 'resumed by a full sync')
  t.strictSame(violated([start, change(1), sync(2, { x: 2, y: 2 }), ...all.slice(2)]), [], 'full sync in between')
  t.strictSame(violated([start, change(1), bookmark(1), ...all.slice(1), bookmark(5)]), [], 'bookmarks')
  const merged = [set('x', 2), set('n', 5), { op: 'delete', key: 'y' } as Op]
  t.strictSame(violated([start, change(1), change(5, merged, 1)]), [], 'a conflated range')
})

t.test('own writes may be left out, unsubscribed keys must be', async (t) => {
  t.strictSame(violated([start, ...all.filter(({ revision }) => revision !== 3)], { own: 'me' }), [])
  t.strictSame(violated([start, ...all.filter(({ revision }) => revision !== 3)], { own: 'you' }), ['reliable'])
  t.strictSame(violated([start, ...all], { own: 'me' }), [], 'sent nevertheless')
  const covers = (key: string) => key === 'y'
  t.strictSame(violated([start, change(2, [set('y', 2)], 0), change(4, undefined, 2)], { covers }), [])
  t.strictSame(violated([start, change(2, [set('y', 2)]), bookmark(3), change(4), bookmark(5)], { covers }), [])
  t.strictSame(violated([start, change(2), change(4)], { covers }), ['authentic', 'atomic'], 'x leaks')
  t.strictSame(violated([start, change(4)], { covers }), ['reliable'])
})

t.test('finds what breaks each guarantee', async (t) => {
  const [one, two, three, four, five] = all as [Change, Change, Change, Change, Change]
  const planted: Record<string, [Seen[], string[], WatchOptions?]> = {
    'swapped revisions': [
      [start, two, one, three, four, five],
      ['reliable', 'ordered'],
    ],
    'a full sync that goes back': [[sync(4, { x: 2, n: 1 }), sync(1, { x: 1 }), two, three, four, five], ['ordered']],
    'a revision twice': [[start, one, one, two, three, four, five], ['unique']],
    'an overlapping range': [[start, one, two, change(3, [...two.ops, ...three.ops], 1), four, five], ['unique']],
    'a gap': [[start, one, three, four, five], ['reliable']],
    'a gap hidden by a false prev': [[start, one, change(3, undefined, 1), four, five], ['atomic']],
    'a change before any full sync': [[one, start, ...all], ['reliable']],
    'half a revision': [[start, one, change(2, [set('x', 2)]), three, four, five], ['atomic']],
    'a revision in two frames': [
      [start, one, change(2, [set('x', 2)]), change(2, [set('y', 2)]), three, four, five],
      ['atomic', 'unique'],
    ],
    'more than the revision holds': [
      [start, change(1, [set('x', 1), set('w', 1)]), two, three, four, five],
      ['atomic'],
    ],
    'another operation with the same effect': [
      [start, change(1, [set('x', 9), set('x', 1)]), ...all.slice(1)],
      ['atomic'],
    ],
    'an increment twice in a frame': [
      [start, one, two, change(3, [...three.ops, ...three.ops]), four, five],
      ['atomic'],
    ],
    'an operation that cannot be applied': [
      [start, change(1, [{ op: 'append', key: 'x', value: 1 }, set('x', 1), { op: 'append', key: 'x', value: 1 }])],
      ['atomic', 'atomic'],
      { complete: false },
    ],
    'a torn full sync': [[sync(2, { x: 2 }), three, four, five], ['atomic']],
    'ranges on a subscription to every revision': [
      [start, change(2, [set('x', 2), set('y', 2)], 0), three, four, five],
      ['reliable'],
      { conflation: false },
    ],
    'a resume that leaves out': [[start, one, resume(1), three, four, five], ['resumable']],
    'a resume that repeats': [[start, one, two, resume(2), two, three, four, five], ['resumable']],
    'a resume from where it never was': [[start, one, resume(3), four, five], ['resumable']],
    'a bookmark that is ahead': [[start, one, bookmark(2), three, four, five], ['bookmarkable']],
    'a bookmark of nothing': [[bookmark(2), start, ...all], ['bookmarkable']],
    'a revision that never was': [[start, ...all, change(6, [set('x', 1)])], ['authentic']],
    'an epoch that never was': [[sync(0, {}, '9:z')], ['authentic', 'convergent']],
    'the end is missing': [[start, one, two], ['convergent']],
    'nothing at all': [[], ['convergent']],
  }
  for (const [name, [seen, expected, options]] of Object.entries(planted)) {
    t.strictSame(violated(seen, options), expected, name)
  }
})

t.test('a new epoch continues or ends a history', async (t) => {
  const next = change(6, [set('x', 6)], 5, '2:b')
  t.strictSame(violated([start, ...all, next], {}, [first, second]), [], 'nothing was lost')
  t.strictSame(violated([start, ...all, resume(5), next], {}, [first, second]), [])
  t.strictSame(violated([start, ...all.slice(0, 4), next], {}, [first, second]), ['reliable'])
  const fork = change(5, [set('z', 5)], 4, '2:c')
  t.strictSame(violated([start, ...all, fork], {}, [first, forked]), ['authentic'], 'revision 5 means two things')
  t.strictSame(violated([start, ...all, resume(5), fork], {}, [first, forked]), ['resumable'])
  t.strictSame(violated([start, ...all, sync(4, { x: 2, n: 1 }, '2:c'), fork], {}, [first, forked]), [])
  t.strictSame(violated([start, ...all], {}, [first, forked]), ['convergent'], 'it never heard of the new epoch')
})

t.test('says what is wrong, and where', async (t) => {
  t.match(validateWatch([first], [start, change(1), change(4), change(5)]), [
    { guarantee: 'reliable', at: 2, message: 'change 3→4 after 1:a@1 leaves out revision 2, 3' },
  ])
  t.match(validateWatch([first], [start, change(1, [set('x', 7)])], { complete: false }), [
    { guarantee: 'atomic', at: 1, message: "after change 0→1 'x' is 7 instead of 1" },
  ])
})

t.test('an authoritative log with holes is an error of the test', async (t) => {
  t.throws(() => validateWatch([], []), TypeError)
  t.throws(() => validateWatch([{ ...first, commits: first.commits.slice(1) }], []), TypeError)
})

t.test('random honest deliveries pass; one random fault in them is found', async (t) => {
  let faults = 0
  fc.assert(
    fc.property(fc.nat(), (seed) => {
      const random = seededRandom(seed)
      const log = randomLog(random)
      const honest = deliver(log, random)
      const violations = validateWatch([log], honest)
      if (violations[0]) throw new Error(`${violations[0].message} in ${JSON.stringify(honest)}`)
      const changes = honest.flatMap((seen, at) => (seen.type === 'change' ? [at] : []))
      if (changes.length === 0) return
      const at = random.pick(changes)
      const broken = damage(honest, at, random)
      faults++
      if (validateWatch([log], broken).length === 0) throw new Error(`not found: ${JSON.stringify(broken)}`)
    }),
    { numRuns: 500 },
  )
  t.ok(faults > 200, `${faults} faults`)
})

function randomLog(random: Random): EpochLog {
  const size = random.integer(1, 15)
  const commits = Array.from({ length: size }, (_, i) =>
    commit(i + 1, ...Array.from({ length: random.integer(1, 3) }, () => randomOp(random, i))),
  )
  return { epoch: '1:r', base: { revision: 0, state: {} }, commits }
}

function randomOp(random: Random, unique: number): Op {
  const n = `n${random.integer(1, 2)}`
  const list = `l${random.integer(1, 2)}`
  return random.pick<Op>([
    set(`x${random.integer(1, 3)}`, unique),
    { op: 'delete', key: `x${random.integer(1, 3)}` },
    { op: 'increment', key: n, value: random.integer(1, 5) },
    { op: 'append', key: list, value: unique },
  ])
}

/** A server that does everything right: single commits, ranges, full syncs, bookmarks, reconnections. */
function deliver({ epoch, commits }: EpochLog, random: Random): Seen[] {
  const states: Record<string, Json>[] = [{}]
  for (const { ops } of commits) {
    const state = { ...states.at(-1) }
    for (const op of ops) {
      const value = applyOp(state[op.key], op)
      if (value === undefined) delete state[op.key]
      else state[op.key] = value
    }
    states.push(state)
  }
  const full = (revision: number): Seen => ({ type: 'fullSync', epoch, revision, state: states[revision] ?? {} })
  let at = random.integer(0, commits.length)
  const seen: Seen[] = [full(at)]
  while (at < commits.length) {
    const to = random.integer(at + 1, commits.length)
    const action = random.pick(['one', 'one', 'one', 'range', 'full', 'bookmark', 'resume'])
    if (action === 'bookmark') seen.push({ type: 'bookmark', epoch, revision: at })
    else if (action === 'resume') seen.push({ type: 'resume', since: { epoch, revision: at } })
    else if (action === 'full') {
      at = to
      seen.push(full(at))
    } else {
      const end = action === 'range' ? to : at + 1
      const ops = commits.slice(at, end).flatMap((c) => c.ops)
      const latest = [...new Set(ops.map(({ key }) => key))].map((key): Op => {
        const value = states[end]?.[key]
        return value === undefined ? { op: 'delete', key } : set(key, value)
      })
      seen.push({ type: 'change', epoch, prev: at, revision: end, ops: end - at > 1 ? latest : ops })
      at = end
    }
  }
  return seen
}

function damage(seen: readonly Seen[], at: number, random: Random): Seen[] {
  const victim = seen[at] as Change
  const [before, after] = [seen.slice(0, at), seen.slice(at + 1)]
  return random.pick<() => Seen[]>([
    () => [...before, { ...victim, prev: victim.prev + 0.5 }, ...after],
    () => [...before, victim, victim, ...after],
    () => [...before, { ...victim, ops: [...victim.ops, set('stray', true)] }, ...after],
    () => [...before, { ...victim, epoch: '0:other' }, ...after],
    () => [...before, { ...victim, revision: victim.revision + 100 }, ...after],
    // A full sync right behind would repair what was left out.
    () => [...before, ...(after[0]?.type === 'fullSync' ? [victim, victim] : []), ...after],
  ])()
}

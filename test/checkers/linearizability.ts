import { isDeepStrictEqual } from 'node:util'
import type { Operation } from './history.ts'
import { canonical, type Model, show } from './models.ts'

export interface CheckOptions {
  /** Configurations to visit per partition before giving up. Default 1 000 000 */
  maxSteps?: number
}

export interface Violation<Op> {
  linearizable: false
  /** Of the model, for instance the key. */
  partition: string
  /** The operations that are needed to see the contradiction, by time. */
  counterexample: Operation<Op>[]
  /** For people: the counterexample as a table, and how far an order could be found. */
  report: string
}

export type Verdict<Op> = { linearizable: true; steps: number } | Violation<Op>

/** The search space was larger than the limit: neither proved nor refuted. */
export class UndecidedError extends Error {
  constructor(partition: string, steps: number) {
    super(`linearizability of '${partition}' is undecided after ${steps} steps; use a shorter history or more keys`)
    this.name = 'UndecidedError'
  }
}

/**
 * Is there one order of the operations that agrees with their real-time order (one that returned before another
 * was invoked comes first) and with the sequential model?
 *
 * Wing & Gong's search with Lowe's memo of visited configurations (set of linearized operations, state):
 * G. Lowe, "Testing for linearizability" (2017). An `unknown` operation may be placed anywhere after its invocation,
 * with any answer, or be left out; a `fail` is left out.
 *
 * @throws UndecidedError beyond `maxSteps`
 * @throws TypeError when the history itself is malformed
 */
export function checkLinearizable<State, Op>(
  history: readonly Operation<Op>[],
  model: Model<State, Op>,
  { maxSteps = 1_000_000 }: CheckOptions = {},
): Verdict<Op> {
  const partitions = new Map<string, Operation<Op>[]>()
  for (const operation of history) {
    validate(operation)
    if (operation.outcome === 'fail') continue
    const name = model.partition?.(operation.op) ?? 'all'
    const list = partitions.get(name)
    if (list) list.push(operation)
    else partitions.set(name, [operation])
  }
  let steps = 0
  for (const [name, operations] of partitions) {
    const found = search(operations, model, maxSteps)
    if (found.verdict === 'undecided') throw new UndecidedError(name, found.steps)
    if (found.verdict === 'no') return explain(name, operations, model, found.steps)
    steps += found.steps
  }
  return { linearizable: true, steps }
}

function validate<Op>({ invoke, return: returned, outcome }: Operation<Op>): void {
  if (outcome === 'ok' && returned === undefined) throw new TypeError('an ok operation needs the time of its return')
  if (returned !== undefined && !(returned >= invoke))
    throw new TypeError('an operation returned before its invocation')
}

interface Search<State, Op> {
  verdict: 'yes' | 'no' | 'undecided'
  steps: number
  /** The longest order found, and the state after it. */
  order: Operation<Op>[]
  state: State
}

/** An event in the doubly linked list of those that are not linearized yet. */
interface Entry<Op> {
  operation: Operation<Op>
  index: number
  /** Of a call whose operation is `ok`: where it returned. */
  answer?: Entry<Op>
  isCall: boolean
  previous: Entry<Op> | undefined
  next: Entry<Op> | undefined
}

function search<State, Op>(
  operations: readonly Operation<Op>[],
  model: Model<State, Op>,
  maxSteps: number,
): Search<State, Op> {
  const fingerprint = model.fingerprint ?? canonical
  const head = link(operations)
  const visited = new Set<string>()
  const placed = new Placed(operations.length)
  const stack: { entry: Entry<Op>; before: State }[] = []
  let open = operations.filter(({ outcome }) => outcome === 'ok').length
  let state = model.initial
  let best: { order: Operation<Op>[]; state: State; open: number } = { order: [], state, open: open + 1 }
  let steps = 0
  let entry = head.next
  while (open > 0) {
    if (entry?.isCall) {
      const { operation } = entry
      const next = model.apply(state, operation.op)
      const legal =
        operation.outcome === 'ok'
          ? !('result' in operation) || isDeepStrictEqual(operation.result, next.result)
          : // Placing an effect of unknown outcome that changes nothing only narrows what may follow.
            next.state !== state
      if (legal) {
        if (++steps > maxSteps) return { verdict: 'undecided', steps, order: best.order, state: best.state }
        placed.add(entry.index)
        const configuration = `${placed.key()}|${fingerprint(next.state)}`
        if (!visited.has(configuration)) {
          visited.add(configuration)
          stack.push({ entry, before: state })
          state = next.state
          lift(entry)
          if (operation.outcome === 'ok') open--
          if (open < best.open) best = { order: stack.map((frame) => frame.entry.operation), state, open }
          entry = head.next
          continue
        }
        placed.remove(entry.index)
      }
      entry = entry.next
      continue
    }
    // A return whose call is not placed, or the end: nothing more may come first here, so take back the last choice.
    const last = stack.pop()
    if (!last) return { verdict: 'no', steps, order: best.order, state: best.state }
    state = last.before
    placed.remove(last.entry.index)
    unlift(last.entry)
    if (last.entry.operation.outcome === 'ok') open++
    entry = last.entry.next
  }
  return { verdict: 'yes', steps, order: stack.map((frame) => frame.entry.operation), state }
}

/** Which operations are placed: a bit set whose text leaves out the long run of ones at its beginning. */
class Placed {
  readonly #words: Uint32Array

  constructor(size: number) {
    this.#words = new Uint32Array((size >>> 5) + 1)
  }

  add(index: number): void {
    this.#words[index >>> 5] = (this.#words[index >>> 5] ?? 0) | (1 << (index & 31))
  }

  remove(index: number): void {
    this.#words[index >>> 5] = (this.#words[index >>> 5] ?? 0) & ~(1 << (index & 31))
  }

  key(): string {
    const words = this.#words
    let first = 0
    while (first < words.length && words[first] === 0xffffffff) first++
    let last = words.length
    while (last > first && words[last - 1] === 0) last--
    let text = `${first}`
    for (let i = first; i < last; i++) text += `,${(words[i] ?? 0).toString(36)}`
    return text
  }
}

function link<Op>(operations: readonly Operation<Op>[]): Entry<Op> {
  const entries: { at: number; entry: Entry<Op> }[] = []
  // Numbered in the order of invocation, unknown ones last, so that the placed ones stay one dense run.
  const rank = ({ outcome }: Operation<Op>) => (outcome === 'ok' ? 0 : 1)
  const numbered = [...operations].sort((a, b) => rank(a) - rank(b) || a.invoke - b.invoke)
  for (const [index, operation] of numbered.entries()) {
    const call: Entry<Op> = { operation, index, isCall: true, previous: undefined, next: undefined }
    entries.push({ at: operation.invoke, entry: call })
    if (operation.outcome !== 'ok') continue
    call.answer = { operation, index, isCall: false, previous: undefined, next: undefined }
    entries.push({ at: operation.return as number, entry: call.answer })
  }
  // At equal times calls come first: without proof of an order the operations are concurrent.
  entries.sort((a, b) => a.at - b.at || Number(b.entry.isCall) - Number(a.entry.isCall))
  const head = { isCall: false, index: -1, previous: undefined } as Entry<Op>
  let previous = head
  for (const { entry } of entries) {
    previous.next = entry
    entry.previous = previous
    previous = entry
  }
  return head
}

function lift<Op>(call: Entry<Op>): void {
  for (const entry of call.answer ? [call, call.answer] : [call]) {
    if (entry.previous) entry.previous.next = entry.next
    if (entry.next) entry.next.previous = entry.previous
  }
}

/** Puts back in the opposite order, so that the neighbours are the ones from before. */
function unlift<Op>(call: Entry<Op>): void {
  for (const entry of call.answer ? [call.answer, call] : [call]) {
    if (entry.previous) entry.previous.next = entry
    if (entry.next) entry.next.previous = entry
  }
}

/** What may be spent on making a counterexample shorter; the verdict stands whether or not it succeeds. */
const SHORTENING_STEPS = 20_000

/**
 * Shortens without ever inventing a contradiction. Only two changes are made, and both allow more than the
 * history did: it is cut after the first answer that cannot be explained, and operations whose answers are not
 * needed become `unknown`. (Simply leaving out a write would turn any read of it into a "violation".)
 */
function explain<State, Op>(
  partition: string,
  operations: readonly Operation<Op>[],
  model: Model<State, Op>,
  steps: number,
): Violation<Op> {
  const refuted = (candidate: readonly Operation<Op>[]) =>
    search(candidate, model, Math.max(SHORTENING_STEPS, steps)).verdict === 'no'

  const answers = operations.flatMap((o) => (o.outcome === 'ok' ? [o.return as number] : [])).sort((a, b) => a - b)
  let low = 0
  let high = answers.length - 1
  // Linearizability is closed under prefixes, so the first bad answer can be bisected.
  while (low < high) {
    const middle = (low + high) >>> 1
    if (refuted(until(operations, answers[middle] as number))) high = middle
    else low = middle + 1
  }
  let shortest = until(operations, answers[low] as number)
  if (!refuted(shortest)) shortest = [...operations]
  for (const operation of [...shortest].sort((a, b) => b.invoke - a.invoke)) {
    if (operation.outcome !== 'ok') continue
    const weaker = shortest.map((o) => (o === operation ? unanswered(o) : o))
    if (refuted(weaker)) shortest = weaker
  }
  const counterexample = shortest.filter(({ outcome }) => outcome === 'ok').sort((a, b) => a.invoke - b.invoke)
  const found = search(shortest, model, Math.max(SHORTENING_STEPS, steps))
  const describe = (o: Operation<Op>) => model.describe?.(o.op) ?? canonical(o.op)
  const others = operations.length - counterexample.length
  const report = [
    `not linearizable: '${partition}'`,
    ...table(counterexample, describe),
    ...(others > 0 ? [`  (${others} other operations, in whatever order and number, do not explain it)`] : []),
    `  longest order found: ${found.order.map(describe).join(' → ') || 'none'}; then the state is ${show(found.state)}`,
  ].join('\n')
  return { linearizable: false, partition, counterexample, report }
}

function until<Op>(operations: readonly Operation<Op>[], end: number): Operation<Op>[] {
  return operations
    .filter(({ invoke }) => invoke <= end)
    .map((o) => (o.outcome === 'ok' && (o.return as number) > end ? unanswered(o) : o))
}

function unanswered<Op>({ process, op, invoke }: Operation<Op>): Operation<Op> {
  return { process, op, invoke, outcome: 'unknown' }
}

function table<Op>(operations: readonly Operation<Op>[], describe: (operation: Operation<Op>) => string): string[] {
  const width = Math.max(0, ...operations.map((o) => describe(o).length))
  return operations.map((o) => {
    const answer = 'result' in o ? ` → ${show(o.result)}` : ''
    return `  [${o.invoke}, ${o.return}]  process ${o.process}  ${describe(o).padEnd(width)}${answer}`
  })
}

import type { Commit, Json, Op } from '../../openapi/schemas/state.ts'
import { applyOp } from '../../plugins/state/values/apply-op.ts'
import { sameJson } from '../../plugins/state/values/reducer.ts'
import { show } from './models.ts'

type State = Readonly<Record<string, Json>>

/** What really happened in one epoch: where it began, and every commit since, none trimmed. */
export interface EpochLog {
  epoch: string
  /** The state before the first commit. */
  base: { revision: number; state: State }
  commits: readonly Pick<Commit, 'prev' | 'revision' | 'ops' | 'clientId'>[]
}

/** What one subscriber saw, in the order in which it saw it. */
export type Seen =
  | { type: 'fullSync'; epoch: string; revision: number; state: State }
  /** One commit, or a conflated range of them (`prev` to `revision`). */
  | { type: 'change'; epoch: string; prev: number; revision: number; ops: readonly Op[] }
  /** It came back, on a new connection, with this position. What follows continues from there. */
  | { type: 'resume'; since: { epoch: string; revision: number } }
  /** It was told that it has seen everything up to here (a heartbeat, an acknowledged write of its own). */
  | { type: 'bookmark'; epoch: string; revision: number }

export type Guarantee =
  /** Revisions never go back. */
  | 'ordered'
  /** No revision is seen twice. */
  | 'unique'
  /** No revision is left out between two that are seen. */
  | 'reliable'
  /** The operations of one revision are seen together, as they are. */
  | 'atomic'
  /** After a return, delivery goes on exactly at the position that was given. */
  | 'resumable'
  /** "You have everything up to revision r" is true. */
  | 'bookmarkable'
  /** What is seen is in the log of its epoch: no invented and no forked history. */
  | 'authentic'
  /** At the end the subscriber has what the log has. */
  | 'convergent'

export interface WatchViolation {
  guarantee: Guarantee
  /** Index into what was seen; its length for what is missing at the end. */
  at: number
  message: string
}

export interface WatchOptions {
  /** Limits the subscription to these keys. Commits without any of them may be left out. Default: all keys */
  covers?: (key: string) => boolean
  /** The subscriber's own writes, which it is not sent. Default: nobody's */
  own?: string
  /** Whether a change may cover several commits at once. Default true; false is the promise of `log` mode. */
  conflation?: boolean
  /** Whether the subscriber is expected to have arrived at the end of the log. Default true */
  complete?: boolean
}

/**
 * Compares what a subscriber saw with what happened. The guarantees are those of etcd's watch API
 * (https://etcd.io/docs/v3.5/learning/api_guarantees/#watch-apis), and two of replicas: authenticity and convergence.
 *
 * @returns every violation, in the order of what was seen; an empty list is a pass. After a violation the
 * subscriber is taken to be as far as it ever got, with the right state, so that one fault is reported once.
 */
export function validateWatch(
  log: readonly EpochLog[],
  seen: readonly Seen[],
  options: WatchOptions = {},
): WatchViolation[] {
  const watch = new Watch(log, options)
  for (const [at, event] of seen.entries()) watch.see(at, event)
  if (options.complete ?? true) watch.end(seen.length)
  return watch.violations
}

interface Position {
  epoch: string
  revision: number
}

class Watch {
  readonly violations: WatchViolation[] = []
  readonly #history: History
  readonly #covers: (key: string) => boolean
  readonly #own: string | undefined
  readonly #conflation: boolean
  #replica = new Map<string, Json>()
  #position: Position | undefined
  #resumed = false

  constructor(log: readonly EpochLog[], { covers = () => true, own, conflation = true }: WatchOptions) {
    this.#history = new History(log)
    this.#covers = covers
    this.#own = own
    this.#conflation = conflation
  }

  see(at: number, event: Seen): void {
    const report = (guarantee: Guarantee, message: string) => this.violations.push({ guarantee, at, message })
    switch (event.type) {
      case 'fullSync':
        this.#fullSync(event, report)
        break
      case 'resume':
        this.#resume(event.since, report)
        return
      case 'bookmark':
        this.#bookmark(event, report)
        break
      case 'change':
        this.#change(event, report)
        break
    }
    this.#resumed = false
  }

  end(at: number): void {
    const head = this.#history.head()
    const report = (message: string) => this.violations.push({ guarantee: 'convergent', at, message })
    if (!this.#position) return void report('it never got a full sync')
    const missing = this.#history.between(this.#position, head)
    if (!missing) return void report(`it ended at ${text(this.#position)}, the log at ${text(head)}`)
    this.#skipOwn(missing)
    const visible = missing.filter((commit) => this.#mustBeSeen(commit))
    if (visible.length > 0) return void report(`it never saw ${revisions(visible)}; the log ends at ${text(head)}`)
    const difference = this.#difference(this.#history.stateAt(head) as Map<string, Json>)
    if (difference) report(`at the end ${difference}`)
  }

  #fullSync(event: Extract<Seen, { type: 'fullSync' }>, report: Report): void {
    const previous = this.#position
    this.#position = { epoch: event.epoch, revision: event.revision }
    this.#replica = new Map(Object.entries(event.state))
    const truth = this.#history.stateAt(this.#position)
    if (!truth) return void report('authentic', `a full sync at ${text(this.#position)}, which never existed`)
    if (previous && this.#history.compare(this.#position, previous) < 0) {
      report('ordered', `a full sync at ${text(this.#position)} after ${text(previous)}`)
    }
    const difference = this.#difference(truth)
    if (difference) report('atomic', `in the full sync at ${text(this.#position)} ${difference}`)
    this.#replica = this.#visible(truth)
  }

  #resume(since: Position, report: Report): void {
    // A subscriber may come back with any position that it had, and is then sent again what it saw after it.
    if (this.#position && this.#history.compare(since, this.#position) > 0) {
      report('resumable', `it resumes from ${text(since)}, but had come to ${text(this.#position)} only`)
    }
    this.#position = since
    this.#resumed = true
    const truth = this.#history.stateAt(since)
    if (truth) this.#replica = this.#visible(truth)
  }

  #bookmark(event: Position, report: Report): void {
    const position = this.#position
    if (!position) return void report('bookmarkable', 'a bookmark before any full sync')
    const passed = this.#history.between(position, event)
    if (!passed) {
      if (this.#history.compare(event, position) > 0 || !this.#history.has(event)) {
        report('authentic', `a bookmark at ${text(event)} after ${text(position)}, which does not lead there`)
      }
      return // An old one says nothing wrong.
    }
    this.#skipOwn(passed)
    const missed = passed.filter((commit) => this.#mustBeSeen(commit))
    if (missed.length > 0) report('bookmarkable', `bookmark ${text(event)} passes over ${revisions(missed)}`)
    this.#position = { epoch: event.epoch, revision: event.revision }
    if (missed.length > 0) this.#replica = this.#visible(this.#history.stateAt(event) as Map<string, Json>)
  }

  #change(event: Extract<Seen, { type: 'change' }>, report: Report): void {
    const position = this.#position
    const target = { epoch: event.epoch, revision: event.revision }
    const name = `change ${event.prev}→${event.revision}`
    if (!position) return void report('reliable', `${name} before any full sync`)
    const truth = this.#history.stateAt(target)
    if (!truth || event.revision <= event.prev) {
      return void report('authentic', `${name} is not in the log of epoch ${event.epoch}`)
    }
    const order = this.#history.compare(target, position)
    if (order <= 0) {
      const guarantee = this.#resumed ? 'resumable' : order === 0 ? 'unique' : 'ordered'
      return void report(guarantee, `${name} after ${text(position)}`)
    }
    const gap = this.#history.between(position, { epoch: event.epoch, revision: event.prev })
    this.#position = target
    if (!gap) this.#discontinuous(position, event, report)
    else {
      this.#skipOwn(gap)
      const missed = gap.filter((commit) => this.#mustBeSeen(commit))
      if (missed.length === 0) this.#checkOps(event, name, truth, report)
      else {
        const guarantee = this.#resumed ? 'resumable' : 'reliable'
        report(guarantee, `${name} after ${text(position)} leaves out ${revisions(missed)}`)
      }
    }
    this.#replica = this.#visible(truth)
  }

  /** A change that does not begin at, or after, the subscriber's position although it ends after it. */
  #discontinuous(position: Position, event: Extract<Seen, { type: 'change' }>, report: Report): void {
    const name = `change ${event.prev}→${event.revision} of epoch ${event.epoch}`
    if (event.epoch === position.epoch) {
      // Delivered as a range that overlaps what the subscriber already has.
      report(this.#resumed ? 'resumable' : 'unique', `${name} repeats what came before ${text(position)}`)
    } else {
      report(
        this.#resumed ? 'resumable' : 'authentic',
        `${name} after ${text(position)}: another history, without a full sync`,
      )
    }
  }

  #checkOps(event: Extract<Seen, { type: 'change' }>, name: string, truth: Map<string, Json>, report: Report): void {
    const covered = (this.#history.between({ epoch: event.epoch, revision: event.prev }, event) ?? []).filter(
      (commit) => commit.ops.some(({ key }) => this.#covers(key)),
    )
    if (!this.#conflation && covered.length > 1) {
      report('reliable', `${name} merges ${covered.length} commits, which this subscription does not allow`)
    }
    const expected = covered.flatMap(({ ops }) => ops.filter(({ key }) => this.#covers(key)))
    const foreign = event.ops.find(({ key }) => !this.#covers(key))
    if (foreign) report('authentic', `${name} holds key '${foreign.key}', which is not subscribed`)
    const mayDiffer = covered.length > 1
    const exact = event.ops.length === expected.length && event.ops.every((op, i) => sameOp(op, expected[i]))
    try {
      for (const op of event.ops) this.#apply(op)
    } catch (error) {
      report('atomic', `${name} does not apply: ${(error as Error).message}`)
    }
    const difference = this.#difference(truth)
    if (difference) report('atomic', `after ${name} ${difference}`)
    else if (!exact && !mayDiffer) {
      report('atomic', `${name} holds ${list(event.ops)}, the log ${list(expected)}`)
    }
  }

  #mustBeSeen({ ops, clientId }: EpochLog['commits'][number]): boolean {
    return (clientId === undefined || clientId !== this.#own) && ops.some(({ key }) => this.#covers(key))
  }

  /** What the subscriber wrote itself it has already. */
  #skipOwn(commits: readonly EpochLog['commits'][number][]): void {
    for (const { ops, clientId } of commits) {
      if (clientId === undefined || clientId !== this.#own) continue
      for (const op of ops) if (this.#covers(op.key)) this.#apply(op)
    }
  }

  #apply(op: Op): void {
    const value = applyOp(this.#replica.get(op.key), op)
    if (value === undefined) this.#replica.delete(op.key)
    else this.#replica.set(op.key, value)
  }

  #visible(state: Map<string, Json>): Map<string, Json> {
    return new Map([...state].filter(([key]) => this.#covers(key)))
  }

  #difference(truth: Map<string, Json>): string | undefined {
    for (const key of new Set([...this.#replica.keys(), ...truth.keys()])) {
      if (!this.#covers(key) && !this.#replica.has(key)) continue
      const [here, there] = [this.#replica.get(key), this.#covers(key) ? truth.get(key) : undefined]
      if (!sameJson(here, there)) return `'${key}' is ${show(here)} instead of ${show(there)}`
    }
    return undefined
  }
}

type Report = (guarantee: Guarantee, message: string) => void

/** The authoritative log, and which of its positions lead to which. */
class History {
  readonly #epochs: readonly EpochLog[]
  readonly #states = new Map<string, Map<string, Json>>()

  constructor(epochs: readonly EpochLog[]) {
    if (epochs.length === 0) throw new TypeError('the authoritative log is empty')
    this.#epochs = epochs
    for (const { epoch, base, commits } of epochs) {
      let state = new Map(Object.entries(base.state))
      let revision = base.revision
      this.#states.set(text({ epoch, revision }), state)
      for (const commit of commits) {
        if (commit.prev !== revision || commit.revision <= revision) {
          throw new TypeError(`the authoritative log has a gap at ${text({ epoch, revision })}`)
        }
        state = new Map(state)
        for (const op of commit.ops) {
          const value = applyOp(state.get(op.key), op)
          if (value === undefined) state.delete(op.key)
          else state.set(op.key, value)
        }
        revision = commit.revision
        this.#states.set(text({ epoch, revision }), state)
      }
    }
  }

  head(): Position {
    const last = this.#epochs.at(-1) as EpochLog
    return { epoch: last.epoch, revision: last.commits.at(-1)?.revision ?? last.base.revision }
  }

  has(position: Position): boolean {
    return this.#states.has(text(position))
  }

  stateAt(position: Position): Map<string, Json> | undefined {
    return this.#states.get(text(position))
  }

  /** Positive when `a` is later: epochs by their place in the log, then revisions. */
  compare(a: Position, b: Position): number {
    const index = ({ epoch }: Position) => this.#epochs.findIndex((log) => log.epoch === epoch)
    return index(a) - index(b) || a.revision - b.revision
  }

  /**
   * The commits that lead from one position to a later one; `undefined` when none do. A new epoch continues an
   * old one where it begins at that revision with that very state: then nothing was lost.
   */
  between(from: Position, to: Position): EpochLog['commits'] | undefined {
    if (!this.has(from) || !this.has(to) || this.compare(to, from) < 0) return undefined
    const log = this.#epochs.find(({ epoch }) => epoch === from.epoch) as EpochLog
    if (from.epoch === to.epoch) {
      return log.commits.filter(({ revision }) => revision > from.revision && revision <= to.revision)
    }
    const next = this.#epochs[this.#epochs.indexOf(log) + 1] as EpochLog
    const start = { epoch: next.epoch, revision: next.base.revision }
    const before = log.commits.filter(({ revision }) => revision > from.revision && revision <= next.base.revision)
    const seam = this.stateAt({ epoch: from.epoch, revision: next.base.revision })
    if (from.revision > next.base.revision || !seam || !sameState(seam, this.stateAt(start))) return undefined
    const rest = this.between(start, to)
    return rest && [...before, ...rest]
  }
}

function sameState(a: Map<string, Json>, b: Map<string, Json> | undefined): boolean {
  return b !== undefined && a.size === b.size && [...a].every(([key, value]) => sameJson(value, b.get(key)))
}

/** A time to live is not compared: its end is a commit of its own. */
function sameOp(a: Op, b: Op | undefined): boolean {
  return a.op === b?.op && a.key === b.key && sameJson(a.value, b.value)
}

const text = ({ epoch, revision }: Position): string => `${epoch}@${revision}`

function revisions(commits: readonly { revision: number }[]): string {
  const shown = commits.slice(0, 5).map(({ revision }) => revision)
  return `revision ${shown.join(', ')}${commits.length > 5 ? ` and ${commits.length - 5} more` : ''}`
}

const list = (ops: readonly Op[]): string =>
  `[${ops.map(({ op, key, value }) => `${op} ${key} ${show(value)}`).join('; ')}]`

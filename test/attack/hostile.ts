import type { Random } from '../fixtures/random.ts'
import type { Contract, Operation } from './contract.ts'
import { type Exchange, type ExchangeOptions, exchange, type Piece, type Target } from './exchange.ts'
import { type Finding, shown } from './findings.ts'

/** What an attack works with. All its choices come from `random`, so that its seed repeats it. */
export interface Hostile {
  readonly target: Target
  readonly contract: Contract
  readonly random: Random
  /** `sid=…` of the attacker's own administrator; empty while it is not logged in. */
  cookie(): string
  /** The cookie is of no use any more. */
  loggedOut(): void
  report(finding: Omit<Finding, 'case'>): void
  /** Counts what was sent. */
  sent(what: keyof Sent, count: number): void
  /** Resolves when the attack's time is over. */
  readonly over: AbortSignal
}

/** How much was sent. */
export interface Sent {
  requests: number
  /** Of WebSockets. */
  frames: number
}

export interface Attack {
  readonly name: string
  /** How often it is picked, beside the others. */
  readonly weight: number
  /** What it sends, for {@link Hostile.sent}; an attack that sends neither is no part of fuzzing. */
  readonly sends?: keyof Sent
  /** Takes so much of the machine, or so long, that one at a time is enough. */
  readonly heavy?: boolean
  run(hostile: Hostile): Promise<void>
}

export interface Judged extends ExchangeOptions {
  /** The operation that was asked; `undefined`: none, only problems are right. */
  operation?: Operation | undefined
  /** Closing without an answer is right as well: what was sent is no whole HTTP request. */
  mayClose?: boolean
  /** It is only the beginning of a request: silence is right as well. */
  unfinished?: boolean
  /** What the finding is filed under. Default: the operation. */
  where?: string
}

/** Sends, and reports whatever the contract does not allow as the answer. */
export async function judgedExchange(hostile: Hostile, pieces: Piece[], options: Judged): Promise<Exchange> {
  const { operation, mayClose = false, unfinished = false, head = false } = options
  hostile.sent('requests', 1)
  const result = await exchange(hostile.target, pieces, options)
  const where = options.where ?? (operation ? `${operation.method} ${operation.path}` : 'outside the operations')
  const sent = pieces.map((piece) => (typeof piece === 'number' ? ` (${piece} ms) ` : shown(piece))).join('')
  const report = (kind: string, came: string, place = where) =>
    hostile.report({ kind, where: place, example: `${sent}\n    → ${came}` })

  if (result.garbage !== undefined) report('no HTTP', shown(result.garbage))
  for (const answer of result.answers) {
    const violation = hostile.contract.violation(operation, answer, head)
    if (!violation) continue
    const body = shown(answer.body, 200)
    // What no route has answered is the same finding, whichever was asked for.
    const place = violation.includes('no problem document') ? body.slice(0, 60) : where
    report(violation, `${answer.status} ${answer.headers['content-type'] ?? ''} ${body}`, place)
  }
  if (result.end === 'deadline' && !unfinished && !hostile.over.aborted) {
    report('no answer', `nothing within ${Math.round(result.took)} ms`)
  }
  const { length } = result.answers
  if ((result.end === 'closed' || result.end === 'reset') && length === 0 && !mayClose && !hostile.over.aborted) {
    report('closed without an answer', result.end)
  }
  return result
}

import type { SyncTraced } from '../../../openapi/schemas/sync.ts'
import type { Clock } from '../../support/clock.ts'
import { TooManyAtOnceError } from '../../support/errors.ts'
import { TokenBucket } from '../connection/token-bucket.ts'
import type { Frame } from '../transports/frame.ts'
import { redacted } from './redacted.ts'

/** Messages of one trace that are shown each second; the others are counted. */
export const TRACE_RATE = 20
const MAX_TRACES = 16
/** A larger message is not read: its first characters tell its type and its space. */
const READABLE = 64 * 1024
const HEAD = 512
/** Says nothing but that the other end is there. */
const HEARTBEAT = JSON.stringify({ type: 'heartbeat' })

/** What is looked at: one connection, or all that concerns a space. */
export type TraceSubject = { node: string } | { space: string }

/** What is read of a connection. */
export interface Traced {
  readonly id: string
  /** It carries a trace: its own messages are not shown, or each would make another one. */
  readonly observes: boolean
}

interface Trace {
  subject: TraceSubject
  bucket: TokenBucket
  missed: number
  /** A frame goes to many connections: of a space it is shown once. */
  seen: WeakSet<Frame>
  tell: (event: SyncTraced) => void
}

/**
 * Shows messages of this instance's connections to those who look, at most {@link TRACE_RATE} a second. While nobody
 * does, a message costs the look at {@link active}.
 */
export class Traces {
  readonly #instance: string
  readonly #clock: Clock
  readonly #traces = new Set<Trace>()
  /** Whether anybody looks: ask before everything else. */
  active = false

  constructor(instance: string, clock: Clock) {
    this.#instance = instance
    this.#clock = clock
  }

  /**
   * @returns ends it
   * @throws STATEFUL_TOO_MANY_AT_ONCE
   */
  watch(subject: TraceSubject, tell: (event: SyncTraced) => void): () => void {
    if (this.#traces.size >= MAX_TRACES) throw new TooManyAtOnceError(MAX_TRACES, 'live traces')
    const bucket = new TokenBucket(TRACE_RATE, TRACE_RATE, this.#clock.monotonic())
    const trace: Trace = { subject, bucket, missed: 0, seen: new WeakSet(), tell }
    this.#traces.add(trace)
    this.active = true
    return () => {
      this.#traces.delete(trace)
      this.active = this.#traces.size > 0
    }
  }

  sent(connection: Traced, frame: Frame): void {
    if (connection.observes || frame.text === HEARTBEAT) return
    for (const trace of this.#traces) {
      const { subject, seen } = trace
      if ('node' in subject) {
        if (subject.node !== connection.id) continue
      } else {
        if (seen.has(frame)) continue
        seen.add(frame)
        if (spaceOf(frame.text) !== subject.space) continue
      }
      this.#show(trace, connection, 'sent', frame.bytes, () => messageOf(frame))
    }
  }

  /** @param message absent: it could not be understood */
  received(connection: Traced, bytes: number, message?: { type: string }): void {
    if (connection.observes || message?.type === 'heartbeat') return
    for (const trace of this.#traces) {
      const { subject } = trace
      const concerned =
        'node' in subject
          ? subject.node === connection.id
          : message !== undefined && ((message as { space?: unknown }).space ?? 'app') === subject.space
      if (concerned) this.#show(trace, connection, 'received', bytes, () => message ?? { type: 'invalid' })
    }
  }

  #show(trace: Trace, { id }: Traced, direction: SyncTraced['direction'], bytes: number, message: () => object): void {
    if (!trace.bucket.tryTake(this.#clock.monotonic())) {
      trace.missed++
      return
    }
    const { missed } = trace
    trace.missed = 0
    const shown = redacted(message()) as SyncTraced['message']
    trace.tell({
      ...{ type: 'traced', at: this.#clock.now(), instance: this.#instance, node: id },
      ...{ direction, bytes, message: shown, missed },
    })
  }
}

/** Server messages name their space in front. */
function spaceOf(text: string): string | undefined {
  return /"space":"([\w.-]*)"/.exec(text.slice(0, HEAD))?.[1]
}

function messageOf({ bytes, text }: Frame): object {
  if (bytes <= READABLE) return JSON.parse(text) as object
  const type = /^\{"type":"(\w+)"/.exec(text)?.[1] ?? 'unknown'
  const space = spaceOf(text)
  return { type, ...(space === undefined ? {} : { space }) }
}

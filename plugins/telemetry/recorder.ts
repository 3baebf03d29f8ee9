import type * as OpenTelemetry from '@opentelemetry/api'
import type { Context, Histogram, Link, Span, SpanContext, Tracer } from '@opentelemetry/api'
import { type StateCommitEvent, type SyncFanOutEvent, stateCommit, syncFanOut } from '../support/tracing.ts'
import { type Operation, operations, SCOPE } from './operations.ts'

export interface RecorderOptions {
  spans: boolean
  metrics: boolean
  keys: boolean
}

/** Upper bounds of the durations, in seconds: from what memory answers to what is about to be given up. */
const BOUNDS = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10]
/** Commits whose fan-out may still come; it follows in the next turn of the event loop. */
const MAX_COMMITS = 1_000

let shared: { stop: () => void; users: number } | undefined

/**
 * Records what the channels tell, as spans and durations, until the returned function is called. Channels belong to the
 * process: while somebody records, others only take part.
 */
export function record(api: typeof OpenTelemetry, options: RecorderOptions): () => void {
  shared ??= { stop: new Recorder(api, options).start(), users: 0 }
  shared.users++
  return () => {
    if (!shared || --shared.users > 0) return
    shared.stop()
    shared = undefined
  }
}

/** An operation that is under way. */
interface Running {
  started: number
  /** In which it runs: with its span, if there is one. */
  context: Context
  span: Span | undefined
}

/**
 * ```
 * start ──▶ a span below the active one, active itself while the operation runs: a query of a loader is its child
 * end ────▶ its attributes, its error, and its duration
 * ```
 *
 * A fan-out carries what several requests have committed, and runs in the turn of none of them. It is a child of the newest
 * commit among those that this instance has made, and linked to the others.
 */
class Recorder {
  readonly #api: typeof OpenTelemetry
  readonly #options: RecorderOptions
  readonly #tracer: Tracer
  readonly #running = new WeakMap<object, Running>()
  readonly #commits = new Map<string, SpanContext>()

  constructor(api: typeof OpenTelemetry, options: RecorderOptions) {
    this.#api = api
    this.#options = options
    this.#tracer = api.trace.getTracer(SCOPE)
  }

  start(): () => void {
    const meter = this.#api.metrics.getMeter(SCOPE)
    const stops = operations(this.#options).map((operation) => {
      const { channel, name, description, over } = operation
      const durations = this.#options.metrics
        ? meter.createHistogram(`${name}.duration`, {
            unit: 's',
            description,
            advice: { explicitBucketBoundaries: BOUNDS },
          })
        : undefined
      const listeners = {
        start: (event: object) => this.#begin(operation, event),
        [over]: (event: object) => this.#end(operation, durations, event),
      }
      channel.subscribe(listeners)
      channel.around = (event, run) => {
        const context = this.#running.get(event)?.context
        return context ? this.#api.context.with(context, run) : run()
      }
      return () => {
        channel.unsubscribe(listeners)
        channel.around = undefined
      }
    })
    return () => {
      for (const stop of stops) stop()
    }
  }

  #begin(operation: Operation, event: object): void {
    const { trace } = this.#api
    let context = this.#api.context.active()
    let span: Span | undefined
    if (this.#options.spans) {
      let links: Link[] = []
      if (operation.channel === (syncFanOut as object)) {
        const [parent, ...others] = this.#commitsOf(event as SyncFanOutEvent)
        context = parent ? trace.setSpanContext(this.#api.ROOT_CONTEXT, parent) : this.#api.ROOT_CONTEXT
        links = others.map((context) => ({ context }))
      }
      span = this.#tracer.startSpan(operation.name, { links }, context)
      context = trace.setSpan(context, span)
    }
    this.#running.set(event, { started: performance.now(), context, span })
  }

  #end({ channel, attributes, labels }: Operation, durations: Histogram | undefined, event: object): void {
    const running = this.#running.get(event)
    if (!running) return
    this.#running.delete(event)
    const { started, context, span } = running
    const failed = 'error' in event
    const errorType = failed ? { 'error.type': typeOf(event.error) } : {}
    durations?.record((performance.now() - started) / 1_000, { ...labels(event), ...errorType }, context)
    if (!span) return
    span.setAttributes({ ...attributes(event), ...errorType })
    if (failed && !isRefusal(event.error)) {
      const { error } = event
      span.recordException(error instanceof Error ? error : String(error))
      span.setStatus({ code: this.#api.SpanStatusCode.ERROR })
    }
    span.end()
    if (channel === (stateCommit as object)) this.#remember(event, span.spanContext())
  }

  #remember({ space, epoch, revision }: Partial<StateCommitEvent>, span: SpanContext): void {
    if (revision === undefined) return
    if (this.#commits.size >= MAX_COMMITS) this.#commits.delete(this.#commits.keys().next().value as string)
    this.#commits.set(commitName(space, epoch, revision), span)
  }

  /** The newest first. */
  #commitsOf({ space, epoch, from, to }: SyncFanOutEvent): SpanContext[] {
    const found: SpanContext[] = []
    for (let revision = to; revision >= from && to - revision < MAX_COMMITS; revision--) {
      const span = this.#commits.get(commitName(space, epoch, revision))
      if (span) found.push(span)
    }
    return found
  }
}

function commitName(space: string | undefined, epoch: string | undefined, revision: number): string {
  return `${space} ${epoch} ${revision}`
}

/** Its code where it has one, as ours do. */
function typeOf(error: unknown): string {
  const { code, name } = (error ?? {}) as { code?: unknown; name?: unknown }
  const type = typeof code === 'string' ? code : name
  return typeof type === 'string' && /^\w{1,64}$/.test(type) ? type : '_OTHER'
}

/** A conflict, a limit, a session that has ended: what the caller is told is not a fault of the operation. */
function isRefusal(error: unknown): boolean {
  const { statusCode } = (error ?? {}) as { statusCode?: unknown }
  return typeof statusCode === 'number' && statusCode < 500
}

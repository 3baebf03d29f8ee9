import { tracingChannel } from 'node:diagnostics_channel'

/** A loader of the cache runs, and its value is stored. Callers who join it make no event of their own. */
export interface CacheLoadEvent {
  namespace: string
  /** The application's own name of the entry; it may name a person, so the telemetry plugin does not record it. */
  key: string
  /** A value is there already, and this load renews it. */
  refresh: boolean
  /**
   * At the end: whether the value went into the store. Not when an invalidation overtook it, or the loader forbade it.
   */
  stored?: boolean
  /** What the loader failed with, or STATEFUL_CACHE_LOAD_TIMEOUT. */
  error?: unknown
}

/** A write of a space, from its call until it is durable and visible on this instance. */
export interface StateCommitEvent {
  space: string
  /** `restore` and `clear` replace the whole content and begin an epoch. */
  kind: 'commit' | 'restore' | 'clear'
  /** At the end of a commit; absent when there was nothing to change, and after a replacement. */
  epoch?: string
  revision?: number
  operations?: number
  error?: unknown
}

/** A session is read from its store. */
export interface SessionLoadEvent {
  /** At the end: `ended` and `replaced` are sessions that were live a moment ago. */
  outcome?: 'live' | 'ended' | 'replaced' | 'unknown'
  error?: unknown
}

/** A session is written to its store. */
export interface SessionSaveEvent {
  /** `rotate`: it goes on under a fresh id, as after a login; `touch`: only its use is recorded. */
  operation: 'create' | 'rotate' | 'save' | 'touch'
  /** At the end: `gone` when the session had ended, `conflict` when somebody else changed it first. */
  outcome?: 'saved' | 'gone' | 'conflict'
  error?: unknown
}

/** What was committed to a space is sent to the connections that follow one topic of it. Synchronous. */
export interface SyncFanOutEvent {
  space: string
  epoch: string
  /** The first and the last revision that are sent. */
  from: number
  to: number
  changes: number
  /** At the end: connections that were sent something; slow ones catch up later. */
  recipients?: number
  error?: unknown
}

/**
 * The events by the name of their channel: `tracingChannel('fastify-stateful:cache.load')` of node:diagnostics_channel
 * tells of each. They carry no id of a session, no value, and nothing secret but what the error of a loader says.
 */
export interface TracingEvents {
  'fastify-stateful:cache.load': CacheLoadEvent
  'fastify-stateful:state.commit': StateCommitEvent
  'fastify-stateful:session.load': SessionLoadEvent
  'fastify-stateful:session.save': SessionSaveEvent
  'fastify-stateful:sync.fanout': SyncFanOutEvent
}

/** What is used of Node's channel: its type parameters change their places between versions of @types/node. */
interface NodeChannel<Event extends object> {
  readonly hasSubscribers: boolean
  subscribe(listeners: Listeners<Event>): void
  unsubscribe(listeners: Listeners<Event>): void
  tracePromise(run: () => Promise<void>, event: Event): Promise<void>
  traceSync(run: () => void, event: Event): void
}

type Listeners<Event extends object> = Partial<Record<'start' | 'end' | 'asyncEnd', (event: Event) => void>>

/** One of the channels, for those who do what it tells of. */
export class EventChannel<Event extends object> {
  readonly #channel: NodeChannel<Event>
  /**
   * Runs each operation once its start is told, to keep something active meanwhile. A store that is bound to a channel
   * would do, but not for what holds its own context, as OpenTelemetry does.
   */
  around: (<Result>(event: Event, run: () => Result) => Result) | undefined

  constructor(name: keyof TracingEvents) {
    this.#channel = tracingChannel(name) as unknown as NodeChannel<Event>
  }

  /** To be asked before an event is made: without subscribers, that is all that a channel costs. */
  get hasSubscribers(): boolean {
    return this.#channel.hasSubscribers
  }

  subscribe(listeners: Listeners<Event>): void {
    this.#channel.subscribe(listeners)
  }

  unsubscribe(listeners: Listeners<Event>): void {
    this.#channel.unsubscribe(listeners)
  }

  /**
   * `tracePromise` without its `result`: what a load or a session holds is not for subscribers.
   * @param conclude writes into the event what subscribers may know of the outcome
   */
  async trace<Result>(
    event: Event,
    run: () => Promise<Result>,
    conclude: (event: Event, result: Result) => void,
  ): Promise<Result> {
    const outcome: { result?: Result } = {}
    await this.#channel.tracePromise(async () => {
      outcome.result = await (this.around ? this.around(event, run) : run())
      conclude(event, outcome.result)
    }, event)
    return outcome.result as Result
  }

  /** The same for what is done when it returns. */
  traceSync(event: Event, run: () => void): void {
    this.#channel.traceSync(() => (this.around ? this.around(event, run) : run()), event)
  }
}

export const cacheLoad = new EventChannel<CacheLoadEvent>('fastify-stateful:cache.load')
export const stateCommit = new EventChannel<StateCommitEvent>('fastify-stateful:state.commit')
export const sessionLoad = new EventChannel<SessionLoadEvent>('fastify-stateful:session.load')
export const sessionSave = new EventChannel<SessionSaveEvent>('fastify-stateful:session.save')
export const syncFanOut = new EventChannel<SyncFanOutEvent>('fastify-stateful:sync.fanout')

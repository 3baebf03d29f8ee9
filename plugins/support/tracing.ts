import { type TracingChannel, tracingChannel } from 'node:diagnostics_channel'

/** A loader of the cache runs, and its value is stored. Callers who join it make no event of their own. */
export interface CacheLoadEvent {
  namespace: string
  /** The application's own name of the entry; it may name a person, so the telemetry plugin does not record it. */
  key: string
  /** A value is there already, and this load renews it. */
  refresh: boolean
  /** At the end: whether the value went into the store. Not when an invalidation overtook it, or the loader forbade it. */
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

const channel = <Name extends keyof TracingEvents>(name: Name): TracingChannel<unknown, TracingEvents[Name]> =>
  tracingChannel(name)

/** Ask `hasSubscribers` before an event is made: without subscribers, that is all that a channel costs. */
export const cacheLoad = channel('fastify-stateful:cache.load')
export const stateCommit = channel('fastify-stateful:state.commit')
export const sessionLoad = channel('fastify-stateful:session.load')
export const sessionSave = channel('fastify-stateful:session.save')
export const syncFanOut = channel('fastify-stateful:sync.fanout')

/**
 * `tracePromise` without its `result`: what a load or a session holds is nobody else's business.
 * @param conclude writes into the event what subscribers may know of the outcome
 */
export async function traced<Event extends object, Result>(
  channel: TracingChannel<unknown, Event>,
  event: Event,
  run: () => Promise<Result>,
  conclude: (event: Event, result: Result) => void,
): Promise<Result> {
  const outcome: { result?: Result } = {}
  await channel.tracePromise(async () => {
    outcome.result = await run()
    conclude(event, outcome.result)
  }, event)
  return outcome.result as Result
}

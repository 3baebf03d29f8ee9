import type { Attributes } from '@opentelemetry/api'
import { cacheLoad, type EventChannel, sessionLoad, sessionSave, stateCommit, syncFanOut } from '../support/tracing.ts'

/** The name of the instrumentation scope, of tracers and meters alike. */
export const SCOPE = 'fastify-stateful'

/** How the events of a channel are called in OpenTelemetry. */
export interface Operation {
  channel: EventChannel<object>
  /** Of its spans; the histogram is `<name>.duration`. */
  name: string
  /** Of the histogram. */
  description: string
  /** Published when it is over: `end` by what is synchronous. */
  over: 'end' | 'asyncEnd'
  /** Of the span. */
  attributes(event: object): Attributes
  /** Of the histogram: only what has few values. */
  labels(event: object): Attributes
}

function operation<Event extends object>(
  channel: EventChannel<Event>,
  of: {
    name: string
    description: string
    over?: 'end'
    attributes: (event: Event) => Attributes
    labels?: (event: Event) => Attributes
  },
): Operation {
  return { over: 'asyncEnd', labels: () => ({}), ...of, channel } as unknown as Operation
}

/** @param keys spans name the keys of the cache */
export function operations({ keys }: { keys: boolean }): Operation[] {
  return [
    operation(cacheLoad, {
      name: 'stateful.cache.load',
      description: 'How long loaders of the cache ran, their values stored.',
      attributes: ({ namespace, key, refresh, stored }) => ({
        'stateful.cache.namespace': namespace,
        'stateful.cache.refresh': refresh,
        ...(stored === undefined ? {} : { 'stateful.cache.stored': stored }),
        ...(keys ? { 'stateful.cache.key': key } : {}),
      }),
      labels: ({ namespace }) => ({ 'stateful.cache.namespace': namespace }),
    }),
    operation(stateCommit, {
      name: 'stateful.state.commit',
      description: 'How long writes took, from their call until they were durable and visible.',
      attributes: ({ space, kind, epoch, revision, operations }) => ({
        'stateful.state.space': space,
        'stateful.state.kind': kind,
        ...(epoch === undefined ? {} : { 'stateful.state.epoch': epoch }),
        ...(revision === undefined ? {} : { 'stateful.state.revision': revision }),
        ...(operations === undefined ? {} : { 'stateful.state.operations': operations }),
      }),
      labels: ({ kind }) => ({ 'stateful.state.kind': kind }),
    }),
    operation(sessionLoad, {
      name: 'stateful.session.load',
      description: 'How long sessions took to be read from their store.',
      attributes: outcomeOf,
      labels: outcomeOf,
    }),
    operation(sessionSave, {
      name: 'stateful.session.save',
      description: 'How long sessions took to be written to their store.',
      attributes: (event) => ({ 'stateful.session.operation': event.operation, ...outcomeOf(event) }),
      labels: (event) => ({ 'stateful.session.operation': event.operation, ...outcomeOf(event) }),
    }),
    operation(syncFanOut, {
      name: 'stateful.sync.fanout',
      description: 'How long it took to hand changes to all connections that follow a topic.',
      over: 'end',
      attributes: ({ space, epoch, to, changes, recipients }) => ({
        'stateful.state.space': space,
        'stateful.state.epoch': epoch,
        'stateful.state.revision': to,
        'stateful.sync.changes': changes,
        ...(recipients === undefined ? {} : { 'stateful.sync.recipients': recipients }),
      }),
    }),
  ]
}

function outcomeOf({ outcome }: { outcome?: string }): Attributes {
  return outcome === undefined ? {} : { 'stateful.session.outcome': outcome }
}

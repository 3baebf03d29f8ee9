import { type Static, Type } from '@sinclair/typebox'
import { CacheStats } from './cache.ts'
import { Count, Measure, Moment } from './numbers.ts'
import { ProcessStats } from './process-stats.ts'
import { reference } from './responses.ts'
import { SessionStats } from './session.ts'
import { StateStats } from './state.ts'
import { StorageStats } from './storage.ts'
import { SyncStats } from './sync.ts'

export const Health = Type.Object(
  {
    status: Type.Union([Type.Literal('ok'), Type.Literal('degraded'), Type.Literal('unavailable')], {
      description: '`degraded`: requests are served, something is missing; `unavailable`: they are refused.',
    }),
    reasons: Type.Array(Type.String(), { description: 'Why, in words, the gravest first. Empty when all is well.' }),
  },
  { $id: 'StatefulHealth', additionalProperties: false, description: 'How an instance, or all of them, do.' },
)
export type Health = Static<typeof Health>

const sections = {
  version: Type.Optional(
    Type.String({ description: 'Of fastify-stateful on the instance; not in the scope `cluster`.' }),
  ),
  at: Type.String({ format: 'date-time', description: 'When the numbers were taken.' }),
  unavailable: Type.Array(Type.String(), {
    description: 'Services whose numbers could not be had, because their storage does not answer.',
  }),
  health: Type.Optional(reference(Health)),
  storage: Type.Optional(reference(StorageStats)),
  cache: Type.Optional(reference(CacheStats)),
  sessions: Type.Optional(reference(SessionStats)),
  state: Type.Optional(reference(StateStats)),
  sync: Type.Optional(reference(SyncStats)),
  process: reference(ProcessStats),
}

export const InstanceStats = Type.Object(
  {
    instance: Type.String({ description: 'Random name of the instance; new with each start.' }),
    age: Type.Optional(Measure('Milliseconds since it told its numbers, by the clock of the storage.')),
    ...sections,
  },
  { $id: 'StatefulInstanceStats', additionalProperties: false, description: 'The numbers of one instance.' },
)
export type InstanceStats = Static<typeof InstanceStats>

const EXAMPLE = {
  scope: 'instance',
  instance: 'oNKhkSyiqZ1DZbjY9iUZRM',
  at: '2026-03-14T09:31:07.020Z',
  unavailable: [],
  health: { status: 'ok', reasons: [] },
  storage: {
    kind: 'redis',
    answers: true,
    failures: 0,
    latency: { sum: 1_310.2, p50: 0.31, p95: 0.62, p99: 0.94, bounds: [0.5, 1, 5], counts: [3_120, 470, 10, 0] },
  },
  sessions: {
    total: 31,
    activeUsers: 12,
    averagePerUser: 1.5,
    created: 40,
    rotated: 12,
    revoked: 7,
    expired: 2,
    saves: 118,
    refusedSaves: 0,
    touches: 96,
    touchesSkipped: 871,
    unreadable: 0,
  },
  process: {
    uptime: 3_600,
    memory: { rss: 96_468_992, heapTotal: 41_943_040, heapUsed: 33_554_432, external: 4_194_304 },
    eventLoop: { p50: 0.1, p99: 1.9, max: 4.2, utilization: 0.08 },
    requests: {
      total: 1_042,
      active: 3,
      aborted: 1,
      byStatus: { '1xx': 0, '2xx': 1_001, '3xx': 12, '4xx': 29, '5xx': 0 },
      duration: { sum: 2_504.5, p50: 1.4, p95: 4.8, p99: 9.5, bounds: [1, 5, 10], counts: [402, 611, 24, 5] },
      problems: { STATEFUL_NOT_FOUND: 21, STATEFUL_FORBIDDEN: 8 },
    },
  },
}

export const Stats = Type.Object(
  {
    scope: Type.Union([Type.Literal('instance'), Type.Literal('cluster')], {
      description: 'Of the instance that answered, or of all that share its storage.',
    }),
    instance: Type.Optional(Type.String({ description: 'Whose numbers they are; not in the scope `cluster`.' })),
    ...sections,
    instances: Type.Optional(
      Type.Array(reference(InstanceStats), {
        description: 'In the scope `cluster`: each instance, the one that answers first.',
      }),
    ),
  },
  {
    $id: 'StatefulStats',
    additionalProperties: false,
    description:
      'The numbers of all services that are registered; those that are not are absent. In the scope `cluster` counters are summed, rates weighted, and what the instances share is taken once.',
    examples: [EXAMPLE],
  },
)
export type Stats = Static<typeof Stats>

/** A count or a measure of a service that need not be there. */
const some = Type.Optional

/** What happened in one interval of the history; rates are counts by `measured`. */
const HistoryPoint = Type.Object(
  {
    at: Moment('When the interval ended, in milliseconds since 1970.'),
    instances: Count('How many instances told their numbers.'),
    measured: Measure('Milliseconds that were measured: after a start less than the interval, after a delay more.'),
    lookups: some(Count('Lookups of the cache.')),
    l1Hits: some(Count('Lookups answered by the first level.')),
    l2Hits: some(Count('Lookups answered by the second level.')),
    misses: some(Count('Lookups that found nothing.')),
    joined: some(Count('Lookups that waited for a load that was running.')),
    stale: some(Count('Lookups answered with a value past its time.')),
    loads: some(Count('Loaders run.')),
    loadFailures: some(Count('Loaders that failed or took too long.')),
    storeFailures: some(Count('Operations that the store of the cache failed.')),
    cacheBytes: some(Count('Bytes in the first level of the cache.')),
    pendingWrites: some(Count('Writes that wait for their write-behind handler.')),
    deadLetters: some(Count('Writes that their handler refused for good.')),
    requests: some(Count('Requests answered.')),
    clientErrors: some(Count('Of these, with a status from 400 to 499.')),
    serverErrors: some(Count('Of these, with a status from 500 to 599.')),
    p50: some(Measure('Median of the request durations in milliseconds; absent without requests.')),
    p95: some(Measure('95th percentile of the request durations in milliseconds.')),
    p99: some(Measure('99th percentile of the request durations in milliseconds.')),
    loopP50: some(Measure('Median event-loop delay in milliseconds, of the busiest instance.')),
    loopP99: some(Measure('99th percentile of the event-loop delay in milliseconds, of the busiest instance.')),
    loopUtilization: some(
      Type.Number({ minimum: 0, maximum: 1, description: 'Share of its time that the busiest instance worked.' }),
    ),
    rss: some(Count('Resident memory in bytes.')),
    heapUsed: some(Count('Heap in use, in bytes.')),
    sessions: some(Count('Sessions.')),
    activeUsers: some(Count('Users who have sessions.')),
    revision: some(Count('Revisions of all open spaces together.')),
    stateKeys: some(Count('Keys of all open spaces.')),
    connections: some(Count('Live connections.')),
    frames: some(Count('Frames sent.')),
    problems: some(
      Type.Record(Type.String(), Count('Requests answered with a problem of this code.'), {
        description: 'By problem code: the eight most frequent of each instance, and `other` for the rest.',
      }),
    ),
    storageP50: some(Measure('Median of the storage latency in milliseconds; absent when it was not measured.')),
    storageP99: some(Measure('99th percentile of the storage latency in milliseconds.')),
    storageFailures: some(Count('Times that the storage did not answer.')),
    openCircuits: some(Count("Circuits of the cache's breaker that were open at the end of the interval.")),
    outages: some(Count("Times that a circuit of the cache's breaker opened.")),
    loaders: some(
      Type.Record(
        Type.String(),
        Type.Object(
          {
            loads: Count('Loads that ended.'),
            time: Measure('How long they took together, in milliseconds.'),
            worst: Measure('How long the slowest one took, in milliseconds.'),
          },
          { additionalProperties: false },
        ),
        {
          description:
            'The loaders of the cache that took most time, at most five of each instance, by `<namespace>/<beginning of the keys>*`.',
        },
      ),
    ),
  },
  { additionalProperties: false },
)
export type HistoryPoint = Static<typeof HistoryPoint>

export const StatsHistory = Type.Object(
  {
    from: Moment('The beginning that was asked for, in milliseconds since 1970.'),
    to: Moment('The end that was asked for, in milliseconds since 1970.'),
    interval: Count('Milliseconds from one point to the next, where nothing is missing.'),
    instances: Type.Array(Type.String(), {
      description: 'The instances that told their numbers in this time. Each start has a name of its own.',
    }),
    points: Type.Array(HistoryPoint, { description: 'The oldest first. What no instance told is missing.' }),
  },
  {
    $id: 'StatefulStatsHistory',
    additionalProperties: false,
    description: 'What the numbers were: counts of each interval, not since the start.',
    examples: [
      {
        from: 1_770_000_000_000,
        to: 1_770_000_020_000,
        interval: 10_000,
        instances: ['oNKhkSyiqZ1DZbjY9iUZRM'],
        points: [
          {
            ...{
              at: 1_770_000_010_000,
              instances: 1,
              measured: 10_002,
              requests: 60,
              clientErrors: 2,
              serverErrors: 0,
            },
            ...{ p50: 1.4, p95: 4.8, p99: 9.5, loopP50: 0.1, loopP99: 1.9, loopUtilization: 0.08 },
            ...{ rss: 96_468_992, heapUsed: 33_554_432, sessions: 31, activeUsers: 12 },
            problems: { STATEFUL_NOT_FOUND: 2 },
            ...{ storageP50: 0.31, storageP99: 0.94, storageFailures: 0, openCircuits: 0, outages: 0 },
            loaders: { 'users/user:*': { loads: 4, time: 92.5, worst: 41.2 } },
          },
        ],
      },
    ],
  },
)
export type StatsHistory = Static<typeof StatsHistory>

import { type Static, Type } from '@sinclair/typebox'
import { CacheStats } from './cache.ts'
import { ProcessStats } from './process-stats.ts'
import { reference } from './responses.ts'
import { SessionStats } from './session.ts'
import { StateStats } from './state.ts'
import { SyncStats } from './sync.ts'

const sections = {
  version: Type.Optional(
    Type.String({ description: 'Of fastify-stateful on the instance; not in the scope `cluster`.' }),
  ),
  at: Type.String({ format: 'date-time', description: 'When the numbers were taken.' }),
  unavailable: Type.Array(Type.String(), {
    description: 'Services whose numbers could not be had, because their storage does not answer.',
  }),
  cache: Type.Optional(reference(CacheStats)),
  sessions: Type.Optional(reference(SessionStats)),
  state: Type.Optional(reference(StateStats)),
  sync: Type.Optional(reference(SyncStats)),
  process: reference(ProcessStats),
}

export const InstanceStats = Type.Object(
  { instance: Type.String({ description: 'Random name of the instance; new with each start.' }), ...sections },
  { $id: 'StatefulInstanceStats', additionalProperties: false, description: 'The numbers of one instance.' },
)
export type InstanceStats = Static<typeof InstanceStats>

const EXAMPLE = {
  scope: 'instance',
  instance: 'oNKhkSyiqZ1DZbjY9iUZRM',
  at: '2026-03-14T09:31:07.020Z',
  unavailable: [],
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

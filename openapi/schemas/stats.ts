import { type Static, Type } from '@sinclair/typebox'
import { CacheStats } from './cache.ts'
import { ProcessStats } from './process-stats.ts'
import { reference } from './responses.ts'
import { SessionStats } from './session.ts'
import { StateStats } from './state.ts'
import { SyncStats } from './sync.ts'

const sections = {
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
  { $id: 'InstanceStats', additionalProperties: false, description: 'The numbers of one instance.' },
)
export type InstanceStats = Static<typeof InstanceStats>

export const Stats = Type.Object(
  {
    scope: Type.Union([Type.Literal('instance'), Type.Literal('cluster')]),
    instance: Type.Optional(Type.String({ description: 'Whose numbers they are; not in the scope `cluster`.' })),
    ...sections,
    instances: Type.Optional(
      Type.Array(reference(InstanceStats), {
        description: 'In the scope `cluster`: each instance, the one that answers first.',
      }),
    ),
  },
  {
    $id: 'Stats',
    additionalProperties: false,
    description:
      'The numbers of all services that are registered; those that are not are absent. In the scope `cluster` counters are summed, rates weighted, and what the instances share is taken once.',
  },
)
export type Stats = Static<typeof Stats>

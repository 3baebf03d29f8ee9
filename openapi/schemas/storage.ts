import { type Static, Type } from '@sinclair/typebox'
import { Durations } from './durations.ts'
import { Count } from './numbers.ts'

export const StorageStats = Type.Object(
  {
    kind: Type.Union([Type.Literal('memory'), Type.Literal('lmdb'), Type.Literal('redis')], {
      description: 'What the services keep their data in.',
    }),
    answers: Type.Boolean({ description: 'Whether the storage answered when it was last asked, each second.' }),
    failures: Count('Times that it did not answer.'),
    latency: Durations('Round trips to Redis, one each second, or transactions of LMDB'),
  },
  { $id: 'StatefulStorageStats', additionalProperties: false, description: 'How the storage answers.' },
)
export type StorageStats = Static<typeof StorageStats>

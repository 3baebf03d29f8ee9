import { type Static, Type } from '@sinclair/typebox'
import { Durations } from './durations.ts'
import { Count, Measure } from './numbers.ts'

/** What the process itself does, whichever services it has. */
export const ProcessStats = Type.Object(
  {
    uptime: Measure('Seconds since the process started; of a cluster, that of its oldest instance.'),
    memory: Type.Object(
      {
        rss: Count('Resident memory in bytes.'),
        heapTotal: Count('Heap that V8 holds, in bytes.'),
        heapUsed: Count('Heap in use, in bytes.'),
        external: Count('Memory of buffers and native objects, in bytes.'),
      },
      { additionalProperties: false, description: 'What the process takes, in bytes.' },
    ),
    eventLoop: Type.Object(
      {
        p50: Measure('Median event-loop delay in the last interval, in milliseconds.'),
        p99: Measure('99th percentile of the event-loop delay in the last interval, in milliseconds.'),
        max: Measure('Longest event-loop delay in the last interval, in milliseconds.'),
        utilization: Type.Number({ minimum: 0, maximum: 1, description: 'Share of the last interval spent working.' }),
      },
      { additionalProperties: false, description: 'Of a cluster, those of its busiest instance.' },
    ),
    requests: Type.Object(
      {
        total: Count('Requests answered.'),
        active: Count('Requests being answered now, event streams included.'),
        aborted: Count('Requests whose client went away before the answer was complete.'),
        byStatus: Type.Object(
          {
            '1xx': Count('Answers with a status from 100 to 199.'),
            '2xx': Count('Answers with a status from 200 to 299.'),
            '3xx': Count('Answers with a status from 300 to 399.'),
            '4xx': Count('Answers with a status from 400 to 499.'),
            '5xx': Count('Answers with a status from 500 to 599.'),
          },
          { additionalProperties: false, description: 'Answers by the class of their status.' },
        ),
        duration: Durations('Requests'),
        problems: Type.Optional(
          Type.Record(Type.String(), Count('Requests answered with a problem of this code.'), {
            description: 'By problem code, at most 64; `other` counts those beyond. Absent from earlier versions.',
          }),
        ),
      },
      { additionalProperties: false, description: 'HTTP requests.' },
    ),
  },
  { $id: 'StatefulProcessStats', additionalProperties: false, description: 'The numbers of the process.' },
)
export type ProcessStats = Static<typeof ProcessStats>

import { Type } from '@sinclair/typebox'
import { Integer, Measure } from './numbers.ts'

/**
 * How long something took, as a histogram.
 * @param what in the plural: what the durations are of
 */
export const Durations = (what: string) =>
  Type.Object(
    {
      sum: Measure('Of all durations, in milliseconds.'),
      p50: Measure('Median, in milliseconds, interpolated from the buckets.'),
      p95: Measure('95th percentile, in milliseconds, interpolated from the buckets.'),
      p99: Measure('99th percentile, in milliseconds, interpolated from the buckets.'),
      bounds: Type.Array(Measure('Milliseconds.'), { description: 'Upper bounds of the buckets, in milliseconds.' }),
      counts: Type.Array(Integer(), {
        description: `${what} of each bucket, not cumulative; the last one is of those above all bounds.`,
      }),
    },
    { additionalProperties: false, description: `How long ${what.toLowerCase()} took.` },
  )

import type { Sample } from '../sample.ts'

/** How finely the past is kept: a sample each `interval`, for as long as `reach`, both in milliseconds. */
export interface Resolution {
  readonly interval: number
  readonly reach: number
}

/** Of one resolution, over all instances: beyond these the oldest go, so that many instances have a shorter past. */
export const MAX_SAMPLES = 10_000

/** Where the samples of all instances lie. */
export interface HistoryStore {
  /** Adds a sample, and lets go of what is older than the reach. */
  append(resolution: Resolution, sample: Sample): Promise<void>
  /** All samples from one moment to another, both included, the oldest first; those of one moment in any order. */
  read(resolution: Resolution, from: number, to: number): Promise<Sample[]>
}

import type { InstanceStats } from '../../../openapi/schemas/stats.ts'

/** Where the instances of an application leave their numbers for each other. */
export interface Board {
  /** Replaces what this instance left before; forgotten when it is not renewed in time. */
  publish(stats: InstanceStats): Promise<void>
  /** What the other instances left lately, each with its `age`, in no particular order. */
  others(): Promise<InstanceStats[]>
  /** Forgets this instance at once, when it closes. */
  withdraw(): Promise<void>
}

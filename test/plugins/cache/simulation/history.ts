/**
 * The checker. Of each value it is known when the load that made it began. An invalidation that succeeded, and whatever a
 * read that began long enough after it returned, must fit: nothing whose load began before the invalidation did.
 */
export interface Value {
  key: string
  id: number
}

export interface Invalidated {
  keys: readonly string[]
  instance: number
  how: string
  /** May still be served to those who take stale values. */
  soft: boolean
  beganAt: number
  /** Virtual time at which the caller was told; undefined when it failed or is running. */
  doneAt: number | undefined
}

export interface Read {
  instance: number
  how: string
  key: string
  takesStale: boolean
  /** Virtual time. */
  beganAt: number
  value: Value
}

export interface History {
  /** By the id of a value: when its load began or its `set` was done, in the order of all events. */
  births: Map<number, number>
  invalidations: Invalidated[]
  reads: Read[]
}

/** @param window ms after which other instances must know (G1); the own instance must know at once (G8) */
export function violations({ births, invalidations, reads }: History, window: number): string[] {
  const found: string[] = []
  for (const read of reads) {
    if (read.value.key !== read.key) found.push(`${read.how}(${read.key}) returned a value of ${read.value.key}`)
    const bornAt = births.get(read.value.id) ?? 0
    for (const invalidation of invalidations) {
      if (invalidation.doneAt === undefined || !invalidation.keys.includes(read.key)) continue
      if (invalidation.soft && read.takesStale) continue
      const grace = invalidation.instance === read.instance ? 0 : window
      if (read.beganAt < invalidation.doneAt + grace) continue
      if (bornAt < invalidation.beganAt) {
        found.push(
          `instance ${read.instance}: ${read.how}(${read.key}) at ${read.beganAt.toFixed(1)} returned what was born at ` +
            `#${bornAt}, but instance ${invalidation.instance}'s ${invalidation.how} #${invalidation.beganAt} ` +
            `was done at ${invalidation.doneAt.toFixed(1)}`,
        )
      }
    }
  }
  return found
}

import type { Source, Value } from './source.ts'

/** One `setWithDelayedPersist`. */
export interface Write extends Value {
  instance: number
  /** Its number; undefined until the journal has it. */
  id: string | undefined
  /** When its caller was told; undefined when it failed, or nobody lived to hear it. */
  acknowledgedAt: number | undefined
}

export interface Read {
  instance: number
  how: string
  key: string
  beganAt: number
  value: Value | undefined
  /** The latest write of the key that the journal had when the read ended. */
  waiting: number | undefined
}

export interface History {
  writes: Write[]
  reads: Read[]
  /** Writes that were given up. */
  dead: ReadonlySet<number>
  source: Source
}

/** @param window ms after which an instance knows of what others did */
export function violations({ writes, reads, dead, source }: History, window: number): string[] {
  const found = [...source.wrong]
  const idOf = new Map(writes.map(({ n, id }) => [n, id ?? '']))
  // The latest of its key takes an older one along to the dead letters.
  const given = (write: Write) =>
    writes.some(({ n, key, id }) => key === write.key && dead.has(n) && idAt(id) >= idAt(write.id))
  const standing = writes.filter((write) => !given(write))
  for (const write of standing) {
    if (write.acknowledgedAt === undefined) continue
    if (idAt(write.id) > source.idOf(write.key))
      found.push(`write ${write.n} of ${write.key} was acknowledged and is lost`)
  }
  for (const { instance, how, key, beganAt, value, waiting } of reads) {
    const known = standing.filter(
      (write) =>
        write.key === key &&
        write.acknowledgedAt !== undefined &&
        beganAt >= write.acknowledgedAt + (write.instance === instance ? 0 : window),
    )
    const where = `instance ${instance}: ${how}(${key}) at ${beganAt.toFixed(1)}`
    if (value === undefined) {
      if (known.some(({ n }) => n === waiting)) found.push(`${where} missed write ${waiting}, which waits`)
      continue
    }
    if (value.key !== key) found.push(`${where} returned a value of ${value.key}`)
    for (const write of known) {
      if (idAt(write.id) > (idOf.get(value.n) ?? '')) {
        found.push(
          `${where} returned write ${value.n}, but write ${write.n} of instance ${write.instance} was acknowledged`,
        )
      }
    }
  }
  return found
}

const idAt = (id: string | undefined): string => id ?? ''

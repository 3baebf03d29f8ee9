import type { SyncStats } from '../../openapi/schemas/sync.ts'

type Counter = Exclude<keyof SyncStats, 'connections' | 'spaces' | 'topics' | 'subscriptions' | 'lagging' | 'closes'>

/** What only ever grows; the hub adds the present state when it is asked. */
export class SyncCounters {
  readonly #closes = new Map<number, number>()
  readonly values: Record<Counter, number> = {
    accepted: 0,
    refused: 0,
    dropped: 0,
    messages: 0,
    invalidMessages: 0,
    writes: 0,
    acks: 0,
    rejects: 0,
    throttled: 0,
    fullSyncs: 0,
    resumes: 0,
    conflations: 0,
    changes: 0,
    frames: 0,
    bytes: 0,
    receivedBytes: 0,
  }

  count(counter: Counter, by = 1): void {
    this.values[counter] += by
  }

  /** A frame with so many bytes: often enough to be spared the look-up by name. */
  sent(bytes: number): void {
    this.values.frames++
    this.values.bytes += bytes
  }

  closed(code: number): void {
    // Peers may send any code from 1000 to 4999: those that are not ours are counted as one.
    const known = code < 1016 || (code >= 4400 && code < 4500) ? code : 0
    this.#closes.set(known, (this.#closes.get(known) ?? 0) + 1)
  }

  get closes(): Record<string, number> {
    return Object.fromEntries(this.#closes)
  }
}

import { recordBytes } from './codec.ts'
import type { LogRecord, Retention } from './contract.ts'

/**
 * The newest commits of a space, in memory: as many as both bounds allow, and the newest one whatever its size.
 *
 * Dropping the oldest must cost the same however many there are, so the front of the arrays is emptied and cut off only
 * when half of them is empty.
 */
export class History {
  readonly #retention: Retention
  #records: (LogRecord | undefined)[] = []
  #sizes: number[] = []
  #start = 0
  #bytes = 0

  constructor(retention: Retention) {
    this.#retention = retention
  }

  /** Number of commits. */
  get size(): number {
    return this.#records.length - this.#start
  }

  /** Of all of them as text, about. */
  get bytes(): number {
    return this.#bytes
  }

  /** @param written what it writes: what is serialised already need not be measured */
  add(record: LogRecord, written?: Parameters<typeof recordBytes>[1]): void {
    const { commits, bytes } = this.#retention
    const size = recordBytes(record, written)
    this.#records.push(record)
    this.#sizes.push(size)
    this.#bytes += size
    while (this.size > 1 && (this.size > commits || this.#bytes > bytes)) this.#drop()
  }

  /** The newest ones, oldest first. */
  last(count: number): LogRecord[] {
    return this.#records.slice(Math.max(this.#records.length - count, this.#start)) as LogRecord[]
  }

  at(revision: number): LogRecord | undefined {
    const oldest = this.#records[this.#start]?.commit.revision ?? 0
    return revision < oldest ? undefined : this.#records[this.#start + revision - oldest]
  }

  clear(): void {
    this.#records = []
    this.#sizes = []
    this.#start = 0
    this.#bytes = 0
  }

  #drop(): void {
    this.#bytes -= this.#sizes[this.#start] ?? 0
    this.#records[this.#start++] = undefined
    if (this.#start < this.#records.length / 2) return
    this.#records.splice(0, this.#start)
    this.#sizes.splice(0, this.#start)
    this.#start = 0
  }
}

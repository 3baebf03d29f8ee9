import { decodeRecords, encodeRecord, recordBytes } from './codec.ts'
import type { Batch, ClientWrite, LogRecord, Retention } from './contract.ts'

/** Bytes above which a commit is kept as text outside of the heap. */
const LARGE = 16 * 1024
/** Buffers of commits that were dropped, for those that come; longer ones are not kept. */
const MOST_SPARE = 8
const LONGEST_SPARE = 1024 * 1024

interface Packed {
  readonly commit: Pick<LogRecord['commit'], 'space' | 'revision' | 'clientId' | 'seq'>
  readonly buffer: Buffer
  readonly length: number
}

/**
 * The newest commits of a space, in memory: as many as both bounds allow, and the newest one whatever its size.
 *
 * Dropping the oldest must cost the same however many there are, so the front of the arrays is emptied and cut off only
 * when half of them is empty.
 *
 * What is long stays here just until it has grown old for the garbage collector, which then lets it lie for hundreds of
 * megabytes. So long commits are kept as bytes, in buffers that are used again, and read again when somebody asks.
 */
export class History {
  readonly #retention: Retention
  #records: (LogRecord | Packed | undefined)[] = []
  #sizes: number[] = []
  #start = 0
  #bytes = 0
  readonly #spare: Buffer[] = []

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

  /** @param written what it writes: what is serialised already need not be serialised or measured */
  add(record: LogRecord, written: Batch['writes'] = NOTHING): void {
    const { commits, bytes } = this.#retention
    const size = recordBytes(record, written)
    this.#records.push(size > LARGE ? this.#pack(record, written) : record)
    this.#sizes.push(size)
    this.#bytes += size
    while (this.size > 1 && (this.size > commits || this.#bytes > bytes)) this.#drop()
  }

  /** The newest ones, oldest first. */
  last(count: number): LogRecord[] {
    return this.#records.slice(Math.max(this.#records.length - count, this.#start)).map(read)
  }

  /** How many of the newest ones lie within these bounds; at least one, if there is one. */
  within({ commits, bytes }: Retention): number {
    let count = 0
    let sum = 0
    while (count < Math.min(this.size, commits) && sum < bytes) sum += this.#sizes[this.#sizes.length - ++count] ?? 0
    return count
  }

  /** Of the commits before the newest ones, those of clients. */
  clientWritesBefore(newest: number): ClientWrite[] {
    return this.#records.slice(this.#start, this.#records.length - newest).flatMap((kept) => {
      const { clientId, seq, revision } = (kept as LogRecord | Packed).commit
      return clientId === undefined || seq === undefined ? [] : [{ clientId, seq, revision }]
    })
  }

  at(revision: number): LogRecord | undefined {
    const oldest = this.#records[this.#start]?.commit.revision ?? 0
    const kept = revision < oldest ? undefined : this.#records[this.#start + revision - oldest]
    return kept && read(kept)
  }

  clear(): void {
    this.#records = []
    this.#sizes = []
    this.#start = 0
    this.#bytes = 0
  }

  #drop(): void {
    this.#bytes -= this.#sizes[this.#start] ?? 0
    const dropped = this.#records[this.#start]
    if (dropped && 'buffer' in dropped && dropped.buffer.length <= LONGEST_SPARE && this.#spare.length < MOST_SPARE) {
      this.#spare.push(dropped.buffer)
    }
    this.#records[this.#start++] = undefined
    if (this.#start < this.#records.length / 2) return
    this.#records.splice(0, this.#start)
    this.#sizes.splice(0, this.#start)
    this.#start = 0
  }

  #pack(record: LogRecord, written: Batch['writes']): Packed {
    const text = encodeRecord(record, written)
    const length = Buffer.byteLength(text)
    const fitting = this.#spare.findIndex((spare) => spare.length >= length && spare.length <= 2 * length)
    const [buffer = Buffer.allocUnsafeSlow(roundUp(length))] = fitting < 0 ? [] : this.#spare.splice(fitting, 1)
    buffer.write(text)
    const { space, revision, clientId, seq } = record.commit
    return {
      commit: {
        space,
        revision,
        ...(clientId === undefined ? {} : { clientId }),
        ...(seq === undefined ? {} : { seq }),
      },
      buffer,
      length,
    }
  }
}

const NOTHING: Batch['writes'] = new Map()

/** So that commits of about the same length fit into the same buffers. */
const roundUp = (length: number): number => Math.ceil(length / 4096) * 4096

function read(kept: LogRecord | Packed | undefined): LogRecord {
  if (!kept || !('buffer' in kept)) return kept as LogRecord
  const { commit, buffer, length } = kept
  return decodeRecords(commit.space, commit.revision, buffer.toString('utf8', 0, length))[0] as LogRecord
}

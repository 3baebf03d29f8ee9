import type { Json } from '../../../openapi/schemas/state.ts'
import { ByteBudget, type Client } from '../../support/client-limits.ts'
import { SharedSequence } from '../../support/shared-sequence.ts'
import type { Readable } from './readable.ts'

/** Characters of a part. */
const PART = 64 * 1024

interface Shared {
  readonly parts: SharedSequence<Buffer>
  readers: number
  readonly release: () => void
}

/** The parts of a snapshot as JSON. */
export interface SnapshotReading {
  readonly parts: SharedSequence<Buffer>
  /** The reader has all of it, or is gone. Calling it again does nothing. */
  end(): void
}

/**
 * Snapshots that are being read. All readers of one revision get the same bytes, made as the first of them comes to
 * them; the different ones that are under way at the same time are bounded by their size.
 */
export class Snapshots {
  readonly #budget: ByteBudget
  readonly #shared = new Map<string, Shared>()

  constructor(bytes: number) {
    this.#budget = new ByteBudget(bytes)
  }

  /** Bytes of those that are under way. */
  get bytes(): number {
    return this.#budget.held
  }

  /** @throws STATEFUL_TOO_MANY_AT_ONCE, STATEFUL_OVERLOADED */
  read(space: Readable, client: Client): SnapshotReading {
    const { name, epoch, revision } = space
    const id = `${name} ${epoch} ${revision}`
    let shared = this.#shared.get(id)
    if (!shared) {
      const release = this.#budget.take(client, space.bytes)
      shared = { parts: new SharedSequence(partsOf(epoch, revision, space.entries())), readers: 0, release }
      this.#shared.set(id, shared)
    }
    shared.readers++
    const { parts } = shared
    let reading = true
    return {
      parts,
      end: () => {
        if (!reading) return
        reading = false
        if (!shared || --shared.readers > 0) return
        this.#shared.delete(id)
        shared.release()
      },
    }
  }
}

function* partsOf(epoch: string, revision: number, entries: readonly [string, Json][]): Generator<Buffer> {
  let text = `{"epoch":${JSON.stringify(epoch)},"revision":${revision},"state":{`
  let separator = ''
  for (const [key, value] of entries) {
    text += `${separator}${JSON.stringify(key)}:${JSON.stringify(value)}`
    separator = ','
    if (text.length < PART) continue
    yield Buffer.from(text)
    text = ''
  }
  yield Buffer.from(`${text}}}`)
}

import type { Op } from '../openapi/schemas/state.ts'

/** What is used of `sessionStorage`. */
export interface QueueStorage {
  getItem(key: string): string | null
  setItem(key: string, value: string): void
}

interface Write {
  seq: number
  ops: Op[]
}

interface Kept {
  clientId: string
  seq: number
  /** Unconfirmed writes by the replica that they were made in. */
  writes: { [replica: string]: Write[] }
}

/** Numbers this client's writes, and keeps those that are not confirmed across a reload of the page. */
export class Queue {
  /** Random, and secret: whoever knows it and has the same user can use up its numbers. */
  readonly clientId: string
  readonly #storage: QueueStorage | undefined
  readonly #name: string
  /** Of an earlier page, until the replicas that they belong to are there. */
  readonly #left: Kept['writes']
  #seq: number
  #writes: Kept['writes'] = {}

  constructor(url: string, clientId: string | undefined, storage: QueueStorage | undefined) {
    this.#storage = storage
    this.#name = `stateful:${url}`
    const kept = this.#read()
    // Numbers belong to an id: under another one the kept writes could be applied a second time.
    const mine = kept && (clientId === undefined || clientId === kept.clientId) ? kept : undefined
    this.clientId = clientId ?? mine?.clientId ?? crypto.randomUUID()
    this.#seq = mine?.seq ?? 0
    this.#left = mine?.writes ?? {}
  }

  nextSeq(): number {
    return ++this.#seq
  }

  takeLeft(replica: string): Write[] {
    const writes = this.#left[replica] ?? []
    delete this.#left[replica]
    return writes
  }

  save(replicas: Iterable<{ readonly id: string; readonly unconfirmed: Write[] }>): void {
    if (!this.#storage) return
    this.#writes = { ...this.#left }
    for (const { id, unconfirmed } of replicas) if (unconfirmed.length > 0) this.#writes[id] = unconfirmed
    try {
      const kept: Kept = { clientId: this.clientId, seq: this.#seq, writes: this.#writes }
      this.#storage.setItem(this.#name, JSON.stringify(kept))
    } catch {
      // A full or forbidden storage: the writes are still in memory and on their way.
    }
  }

  #read(): Kept | undefined {
    try {
      return JSON.parse(this.#storage?.getItem(this.#name) ?? 'null') ?? undefined
    } catch {
      return undefined
    }
  }
}

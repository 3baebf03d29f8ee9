import { StateConflictError } from '../../support/errors.ts'
import type { Write } from './write.ts'

/** Writes that wait to be committed, in the order of their calls. */
export class WriteQueue {
  readonly #writerId: string
  #writes: Write[] = []

  /** @param writerId what the transactions of these writes begin with */
  constructor(writerId: string) {
    this.#writerId = writerId
  }

  get length(): number {
    return this.#writes.length
  }

  get first(): Write | undefined {
    return this.#writes[0]
  }

  add(write: Write): void {
    this.#writes.push(write)
  }

  shift(): void {
    this.#writes.shift()
  }

  /** What was taken out and has not been committed goes before all others again. */
  putBack(writes: Write[]): void {
    this.#writes = writes.concat(this.#writes)
  }

  /** Takes out the write of this transaction, which turns out to have been committed. */
  take(tx: string): Write | undefined {
    if (!tx.startsWith(this.#writerId)) return undefined
    const index = this.#writes.findIndex((write) => write.tx === tx)
    return index < 0 ? undefined : this.#writes.splice(index, 1)[0]
  }

  /** Lets what depends on the state be computed anew: it has changed under what waits. */
  restart(): void {
    for (const write of this.#writes) {
      if (!write.ops && !write.pending) return
      if (write.dependsOnView) write.restart(new StateConflictError('*', 'another', 'the expected one'))
    }
  }
}

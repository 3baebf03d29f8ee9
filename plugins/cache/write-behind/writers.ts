import { UnknownWriterError } from '../../support/errors.ts'
import { invalidOption } from '../../support/options.ts'
import { checkNamespace } from '../names.ts'
import type { ResolvedOptions } from '../options.ts'
import { namespaceOf } from '../tier/buckets.ts'
import type { Journal } from './journal.ts'
import { Worker } from './worker.ts'
import { type DeadWrite, toDeadWrite, type WaitingWrite, type WriteBehindStats, type WriteHandler } from './writes.ts'

const MAX_LETTERS = 1_000

/** The registered handlers, each with its worker. */
export class Writers {
  readonly #journal: Journal
  readonly #options: ResolvedOptions
  readonly #report: (error: unknown, writer: string) => void
  readonly #workers = new Map<string, Worker>()
  #started = false

  constructor(journal: Journal, options: ResolvedOptions, report: (error: unknown, writer: string) => void) {
    this.#journal = journal
    this.#options = options
    this.#report = report
  }

  /** @throws STATEFUL_INVALID_OPTION when the name is taken, STATEFUL_INVALID_CACHE_KEY when it is none */
  register(name: string, handler: WriteHandler): void {
    checkNamespace(name)
    if (this.#workers.has(name)) throw invalidOption('writeBehind', `must not name '${name}' twice.`)
    const worker = new Worker(name, handler, this.#journal, this.#options, (error) => this.#report(error, name))
    this.#workers.set(name, worker)
    if (this.#started) void worker.start()
  }

  /** Appends writes for one handler. @throws STATEFUL_UNKNOWN_WRITER */
  of(name: string): Pick<Worker, 'append'> {
    return this.#worker(name)
  }

  async start(): Promise<void> {
    this.#started = true
    await Promise.all([...this.#workers.values()].map((worker) => worker.start()))
  }

  /** Hands over what waits, once; what fails or takes too long stays in the journal. */
  async stop(): Promise<void> {
    await Promise.all([...this.#workers.values()].map((worker) => worker.stop()))
  }

  /** Hands over everything that waits, now. */
  async flush(): Promise<void> {
    await Promise.all([...this.#workers.values()].map((worker) => worker.flush()))
  }

  /**
   * The writes that wait, those whose keys have waited longest first.
   * @param limit at most so many
   * @throws STATEFUL_UNKNOWN_WRITER
   */
  async waiting(name: string, limit = 100): Promise<WaitingWrite[]> {
    const worker = this.#worker(name)
    const queued = await this.#journal.queued(name, limit)
    return queued.map((write) => ({
      ...write,
      namespace: namespaceOf(write.namespace),
      attempts: worker.attemptsOf(write.id),
    }))
  }

  /** @throws STATEFUL_UNKNOWN_WRITER */
  async deadLetters(name: string, limit = 100): Promise<DeadWrite[]> {
    this.#worker(name)
    return (await this.#journal.dead(name, limit)).map(toDeadWrite)
  }

  /**
   * Puts dead letters back into the journal, behind everything that waits: a write that is older than one that was
   * persisted since comes after it. One whose key has a newer write that waits is only forgotten. Resolves to how many
   * there were.
   * @param ids default: all
   * @throws STATEFUL_UNKNOWN_WRITER
   */
  async retryDeadLetters(name: string, ids?: readonly string[]): Promise<number> {
    const worker = this.#worker(name)
    const letters = await this.#journal.dead(name, MAX_LETTERS)
    const chosen = ids === undefined ? letters : letters.filter(({ id }) => ids.includes(id))
    for (const letter of chosen) await worker.retry(letter)
    await worker.count()
    return chosen.length
  }

  /** The handlers of this instance by their names, each with its numbers. */
  list(): (WriteBehindStats & { name: string })[] {
    return [...this.#workers].map(([name, { stats }]) => ({ name, ...stats }))
  }

  stats(): WriteBehindStats {
    const total = { pending: 0, written: 0, retried: 0, dead: 0 }
    for (const { stats } of this.#workers.values()) {
      for (const name of Object.keys(total) as (keyof WriteBehindStats)[]) total[name] += stats[name]
    }
    return total
  }

  #worker(name: string): Worker {
    const worker = this.#workers.get(name)
    if (!worker) throw new UnknownWriterError(name)
    return worker
  }
}

import type { Timer } from '../../support/clock.ts'
import { UnknownWriterError, WriteBehindFullError } from '../../support/errors.ts'
import { invalidOption } from '../../support/options.ts'
import { checkNamespace } from '../names.ts'
import type { ResolvedOptions } from '../options.ts'
import { decodeValue, encodeValue } from '../tier/record.ts'
import type { DeadLetter, Journal, JournalEntry } from './journal.ts'

/** One write as its handler gets it: the latest of its key in the batch. */
export interface DelayedWrite<T = unknown> {
  /** Ascends with the order of the writes: a source that remembers it can refuse an older one. */
  id: string
  namespace: string
  key: string
  value: T
}

/**
 * Persists a batch; resolving means that all of it is persisted. A batch that was handed over may come again
 * (after a crash, or when the handler failed), so it has to be idempotent.
 */
export type WriteHandler = (writes: DelayedWrite[]) => unknown

export interface WriteBehindStats {
  pending: number
  written: number
  retried: number
  dead: number
}

const MAX_BACKOFF = 30_000
/** How long one instance stays the reader of a journal; renewed while it works. */
const OWNERSHIP = 10_000
/** How often another instance looks whether the journal has lost its reader. */
const LOOK_AGAIN = 5_000
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

  /** Resolves when the write is in the journal. */
  async append(name: string, namespace: string, key: string, value: unknown): Promise<void> {
    const worker = this.#workers.get(name)
    if (!worker) throw new UnknownWriterError(name)
    await worker.append({ namespace, key, data: encodeValue(value) })
  }

  async start(): Promise<void> {
    this.#started = true
    await Promise.all([...this.#workers.values()].map((worker) => worker.start()))
  }

  /** Hands over what waits, once; what fails stays in the journal. */
  async stop(): Promise<void> {
    await Promise.all([...this.#workers.values()].map((worker) => worker.stop()))
  }

  /** Hands over everything that waits, now. */
  async flush(): Promise<void> {
    await Promise.all([...this.#workers.values()].map((worker) => worker.drain()))
  }

  /** @throws STATEFUL_UNKNOWN_WRITER */
  async deadLetters(name: string, limit = 100): Promise<(DelayedWrite & { reason: string; at: number })[]> {
    if (!this.#workers.has(name)) throw new UnknownWriterError(name)
    const letters = await this.#journal.dead(name, limit)
    return letters.map(({ data, ...letter }) => ({ ...letter, value: readable(data) }))
  }

  /**
   * Puts dead letters back into the journal, behind everything that waits: a write that is older than one that was
   * persisted since comes after it, which a handler sees by `id`s it has had. Resolves to how many there were.
   * @param ids default: all
   * @throws STATEFUL_UNKNOWN_WRITER
   */
  async retryDeadLetters(name: string, ids?: readonly string[]): Promise<number> {
    const worker = this.#workers.get(name)
    if (!worker) throw new UnknownWriterError(name)
    const letters = await this.#journal.dead(name, MAX_LETTERS)
    const chosen = ids === undefined ? letters : letters.filter(({ id }) => ids.includes(id))
    for (const { id, namespace, key, data } of chosen) {
      // Written before it is forgotten: dying in between makes two of it, not none.
      await worker.append({ namespace, key, data })
      await this.#journal.discard(name, [id])
    }
    await worker.count()
    return chosen.length
  }

  stats(): WriteBehindStats {
    const total = { pending: 0, written: 0, retried: 0, dead: 0 }
    for (const { stats } of this.#workers.values()) {
      for (const name of Object.keys(total) as (keyof WriteBehindStats)[]) total[name] += stats[name]
    }
    return total
  }
}

class Worker {
  readonly stats: WriteBehindStats = { pending: 0, written: 0, retried: 0, dead: 0 }
  readonly #name: string
  readonly #handler: WriteHandler
  readonly #journal: Journal
  readonly #options: ResolvedOptions
  readonly #report: (error: unknown) => void
  #timer: Timer | undefined
  #due = 0
  #resumeAt = 0
  #draining: Promise<void> | undefined
  #failures = 0
  #appended = 0
  #appending = 0
  #stopped = false

  constructor(
    name: string,
    handler: WriteHandler,
    journal: Journal,
    options: ResolvedOptions,
    report: (error: unknown) => void,
  ) {
    this.#name = name
    this.#handler = handler
    this.#journal = journal
    this.#options = options
    this.#report = report
  }

  async append(entry: Omit<JournalEntry, 'id'>): Promise<void> {
    const { maxPending, delay } = this.#options.writeBehind
    if (this.stats.pending >= maxPending) throw new WriteBehindFullError(this.#name, maxPending)
    this.stats.pending++
    this.#appended++
    this.#appending++
    try {
      await this.#journal.append(this.#name, entry)
    } catch (error) {
      this.stats.pending--
      throw error
    } finally {
      this.#appending--
    }
    this.#schedule(delay)
  }

  /** Takes up what an earlier life of the process has left. */
  async start(): Promise<void> {
    await this.count()
    this.#schedule(this.stats.pending > 0 ? this.#options.writeBehind.delay : LOOK_AGAIN)
  }

  async stop(): Promise<void> {
    this.#stopped = true
    this.#timer?.cancel()
    await this.drain()
    await this.#journal.disown(this.#name).catch(this.#report)
  }

  /** One drain at a time; never rejects. */
  drain(): Promise<void> {
    this.#draining ??= this.#drain()
      .catch(this.#report)
      .finally(() => {
        this.#draining = undefined
      })
    return this.#draining
  }

  async #drain(): Promise<void> {
    this.#timer?.cancel()
    this.#timer = undefined
    try {
      while (await this.#journal.own(this.#name, OWNERSHIP)) {
        const entries = await this.#journal.read(this.#name, this.#options.writeBehind.batch)
        if (entries.length === 0) break
        if (!(await this.#deliver(entries))) break
      }
      await this.count()
    } finally {
      this.#schedule(this.#failures > 0 ? 0 : LOOK_AGAIN)
    }
  }

  /** Whether the batch has left the journal. */
  async #deliver(entries: JournalEntry[]): Promise<boolean> {
    const latest = new Map(entries.map((entry) => [`${entry.namespace}:${entry.key}`, entry]))
    try {
      await this.#handler([...latest.values()].map(toWrite))
      await this.#journal.remove(
        this.#name,
        entries.map(({ id }) => id),
      )
      this.#failures = 0
      this.stats.written += latest.size
      return true
    } catch (error) {
      this.#report(error)
      this.#failures++
      this.stats.retried++
      const { attempts, backoff } = this.#options.writeBehind
      if (this.#failures < attempts) {
        const pause = Math.min(backoff * 2 ** (this.#failures - 1), MAX_BACKOFF)
        this.#resumeAt = this.#options.clock.monotonic() + pause
        return false
      }
      await this.#oneByOne(entries)
      this.#failures = 0
      return true
    }
  }

  /** Finds which writes the handler refuses; the others must not suffer for them. */
  async #oneByOne(entries: JournalEntry[]): Promise<void> {
    for (const entry of entries) {
      try {
        await this.#handler([toWrite(entry)])
        await this.#journal.remove(this.#name, [entry.id])
        this.stats.written++
      } catch (error) {
        const letter: DeadLetter = { ...entry, reason: (error as Error).message, at: this.#options.clock.now() }
        await this.#journal.bury(this.#name, [letter])
      }
    }
  }

  /** Asks the journal how much there is. */
  async count(): Promise<void> {
    // Writes that are on their way while the journal counts may be in its number or not: the bound needs them.
    const before = this.#appended - this.#appending
    const { pending, dead } = await this.#journal.size(this.#name)
    this.stats.pending = pending + this.#appended - before
    this.stats.dead = dead
  }

  #schedule(ms: number): void {
    const { clock } = this.#options
    // A new write must not cut short the pause that a failing handler was given.
    const now = clock.monotonic()
    const due = Math.max(now + ms, this.#resumeAt)
    if (this.#stopped || (this.#timer && this.#due <= due)) return
    this.#timer?.cancel()
    this.#due = due
    this.#timer = clock.after(due - now, () => void this.drain())
  }
}

/** A dead letter is there to be looked at: also one that nobody can read. */
function readable(data: Uint8Array): unknown {
  try {
    return decodeValue(data)
  } catch {
    return null
  }
}

function toWrite({ id, namespace, key, data }: JournalEntry): DelayedWrite {
  return { id, namespace, key, value: decodeValue(data) }
}

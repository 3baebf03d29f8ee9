import type { Timer } from '../../support/clock.ts'
import { WriteBehindFullError, WriteBehindLostError, WriteBehindTimeoutError } from '../../support/errors.ts'
import { startTimer } from '../../support/timer.ts'
import type { ResolvedOptions } from '../options.ts'
import type { Appended, DeadLetter, Journal, JournalEntry, NewWrite } from './journal.ts'
import { Ownership } from './ownership.ts'
import { type DelayedWrite, toDeadWrite, toWrite, type WriteBehindStats, type WriteHandler } from './writes.ts'

const MAX_BACKOFF = 30_000

/**
 * Hands one writer's journal over to its handler, one batch at a time, as long as this instance is the owner.
 *
 *              a write, the boot, or time to look            another instance is the owner
 *     resting ────────────────────────────────▶ draining ─────────────────────────────────▶ resting
 *        ▲                                       │   │ ▲     (looks again when its lease may have ended)
 *        ├── the journal is empty: disowned ─────┘   │ │
 *        ├── the ownership is lost, Redis is away ───┤ │
 *        │                                           │ └── after a pause that doubles ──┐
 *        │                                           └── the handler fails ──▶ pausing ─┘ (and stays the owner)
 *     stop, from anywhere: one more drain, cut off after `closing`; then nothing happens any more
 *
 * A request while it drains is remembered (`#again`), so that no timer is lost.
 */
export class Worker {
  readonly stats: WriteBehindStats = { pending: 0, written: 0, retried: 0, dead: 0 }
  readonly #name: string
  readonly #handler: WriteHandler
  readonly #journal: Journal
  readonly #options: ResolvedOptions
  readonly #report: (error: unknown) => void
  readonly #ownership: Ownership
  #timer: Timer | undefined
  #due = 0
  #resumeAt = 0
  #draining: Promise<void> | undefined
  #again = false
  /** Ends the call of the handler that is running. */
  #running: AbortController | undefined
  #failures = 0
  /** Numbers of the writes of the batch that has failed so often. */
  #failed: ReadonlySet<string> = new Set()
  #stopped = false
  #cutOff = false

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
    const { lease } = options.writeBehind
    this.#ownership = new Ownership(name, journal, { lease, clock: options.clock }, (why) =>
      this.#running?.abort(new WriteBehindLostError(name, why)),
    )
  }

  /** @throws STATEFUL_WRITE_BEHIND_FULL */
  async append(write: NewWrite): Promise<Extract<Appended, { state: 'done' }>> {
    const { maxPending, delay } = this.#options.writeBehind
    const appended = await this.#journal.append(this.#name, write, maxPending)
    if (appended.state === 'full') throw new WriteBehindFullError(this.#name, maxPending)
    this.stats.pending = appended.pending
    this.#schedule(delay)
    return appended
  }

  async retry(letter: DeadLetter): Promise<boolean> {
    const waits = await this.#journal.retry(this.#name, letter)
    if (waits) this.#schedule(this.#options.writeBehind.delay)
    return waits
  }

  /** Takes up what an earlier life of the process, or another one, has left. Never rejects. */
  async start(): Promise<void> {
    await this.count().catch(this.#report)
    const { delay, takeover } = this.#options.writeBehind
    if (this.stats.pending > 0) this.#schedule(delay)
    else if (this.#journal.shared) this.#schedule(takeover, true)
  }

  /** Hands over what waits, once; what fails, or takes too long, stays in the journal. Never rejects. */
  async stop(): Promise<void> {
    this.#stopped = true
    this.#timer?.cancel()
    const { closing } = this.#options.writeBehind
    let cancel: (() => void) | undefined
    // Real time that keeps the process alive: otherwise it might end before its servers have closed.
    const late = new Promise<boolean>((resolve) => {
      cancel = startTimer(closing, () => resolve(true))
    })
    const ended = this.drain().then(() => this.#ownership.release())
    const isLate = await Promise.race([ended.catch(this.#report), late])
    cancel?.()
    if (isLate !== true) return
    // Not disowned: the next owner should wait a moment for a handler that may still be at work.
    this.#cutOff = true
    this.#ownership.abandon()
    this.#running?.abort(new WriteBehindLostError(this.#name, 'it closes'))
  }

  /** Hands over everything that waits at this moment. Never rejects. */
  async flush(): Promise<void> {
    await this.#draining
    await this.drain()
  }

  /** One at a time; never rejects. */
  drain(): Promise<void> {
    this.#draining ??= this.#drain().finally(() => {
      this.#draining = undefined
      if (this.#again) this.#schedule(this.#options.writeBehind.delay)
      this.#again = false
    })
    return this.#draining
  }

  /** How often the write of this number was handed over in vain, as far as this instance did it. */
  attemptsOf(id: string): number {
    return this.#failed.has(id) ? this.#failures : 0
  }

  /** Asks the journal how much there is. */
  async count(): Promise<void> {
    Object.assign(this.stats, await this.#journal.size(this.#name))
  }

  async #drain(): Promise<void> {
    this.#timer?.cancel()
    this.#timer = undefined
    const { batch, takeover, lease } = this.#options.writeBehind
    let next = takeover
    try {
      const busy = await this.#ownership.take()
      if (busy > 0) {
        next = Math.min(takeover, busy)
      } else {
        let from = this.#options.clock.monotonic()
        while (await this.#deliver(await this.#journal.read(this.#name, this.#ownership.token, batch))) {
          // Until the journal is empty, the handler fails, or another instance has it, or wants it: an owner that takes
          // so long for a batch lets the others have a turn.
          const now = this.#options.clock.monotonic()
          if (this.#ownership.wanted && now - from > lease) {
            // They ask once in `takeover`: this long, at least one of them is sure to come first.
            next = 2 * takeover
            break
          }
          from = now
        }
        if (this.#failures === 0) await this.#ownership.release()
      }
      if (!this.#cutOff) await this.count()
    } catch (error) {
      // The journal cannot be reached.
      if (!this.#cutOff) this.#report(error)
    }
    if (this.#failures > 0) this.#schedule(0)
    else if (this.#journal.shared) this.#schedule(next, true)
    else if (this.stats.pending > 0) this.#schedule(next)
  }

  /** Whether the batch has left the journal and there may be another one. */
  async #deliver(entries: JournalEntry[] | undefined): Promise<boolean> {
    if (entries === undefined) {
      this.#ownership.lose('another instance has taken over')
      return false
    }
    if (entries.length === 0) return false
    try {
      await this.#hand(entries.map(toWrite))
    } catch (error) {
      if (!this.#cutOff) this.#report(error)
      if (!this.#ownership.held) return false
      this.#failures++
      this.#failed = new Set(entries.map(({ id }) => id))
      this.stats.retried++
      const { attempts, backoff } = this.#options.writeBehind
      if (this.#failures < attempts) {
        const pause = Math.min(backoff * 2 ** (this.#failures - 1), MAX_BACKOFF)
        this.#resumeAt = this.#options.clock.monotonic() + pause
        return false
      }
      const finished = await this.#oneByOne(entries)
      this.#failures = 0
      return finished
    }
    this.#failures = 0
    return this.#done(entries)
  }

  /** Finds which writes the handler refuses; the others must not suffer for them. */
  async #oneByOne(entries: JournalEntry[]): Promise<boolean> {
    for (const entry of entries) {
      let refused: unknown
      try {
        await this.#hand([toWrite(entry)])
      } catch (error) {
        refused = error
        if (!this.#ownership.held) return false
      }
      const ours = refused === undefined ? await this.#done([entry]) : await this.#bury(entry, refused)
      if (!ours) return false
    }
    return true
  }

  async #done(entries: JournalEntry[]): Promise<boolean> {
    this.stats.written += entries.length
    const ours = await this.#journal.remove(this.#name, this.#ownership.token, entries)
    if (!ours) this.#ownership.lose('another instance has taken over')
    return ours
  }

  async #bury(entry: JournalEntry, refused: unknown): Promise<boolean> {
    const { clock } = this.#options
    const reason = refused instanceof Error ? refused.message : String(refused)
    const letter: DeadLetter = { ...entry, reason, at: clock.now() }
    const buried = await this.#journal.bury(this.#name, this.#ownership.token, [letter])
    if (!buried) {
      this.#ownership.lose('another instance has taken over')
      return false
    }
    for (const dead of buried) this.#tell(dead)
    return true
  }

  #tell(letter: DeadLetter): void {
    this.stats.dead++
    try {
      this.#options.writeBehind.onDeadLetter?.({ writer: this.#name, ...toDeadWrite(letter) })
    } catch (error) {
      this.#report(error)
    }
  }

  /** Calls the handler, and waits no longer for it than its time, or than this instance is the owner. */
  async #hand(writes: DelayedWrite[]): Promise<void> {
    const { clock, writeBehind } = this.#options
    const running = new AbortController()
    this.#running = running
    const { signal } = running
    const late = clock.after(writeBehind.timeout, () =>
      running.abort(new WriteBehindTimeoutError(this.#name, writeBehind.timeout)),
    )
    try {
      await new Promise<unknown>((resolve, reject) => {
        signal.addEventListener('abort', () => reject(signal.reason), { once: true })
        if (!this.#ownership.held) running.abort(new WriteBehindLostError(this.#name, 'its lease has ended'))
        else new Promise((handled) => handled(this.#handler(writes, { signal }))).then(resolve, reject)
      })
    } finally {
      late.cancel()
      if (this.#running === running) this.#running = undefined
    }
  }

  /** @param look only to see whether somebody has left something */
  #schedule(ms: number, look = false): void {
    const { clock } = this.#options
    // A new write must not cut short the pause that a failing handler was given.
    const now = clock.monotonic()
    const due = Math.max(now + ms, this.#resumeAt)
    if (this.#stopped || (this.#timer && this.#due <= due)) return
    this.#timer?.cancel()
    this.#due = due
    this.#timer = clock.after(due - now, () => {
      this.#timer = undefined
      if (this.#draining) this.#again = true
      else void (look ? this.#look() : this.drain())
    })
  }

  /** Most of the time nothing waits, and an instance need not become the owner to see that. */
  async #look(): Promise<void> {
    const { delay, takeover } = this.#options.writeBehind
    const waited = await this.#journal.waited(this.#name).catch(() => undefined)
    if (waited !== undefined && waited >= delay) await this.drain()
    else this.#schedule(waited === undefined ? takeover : Math.min(takeover, delay - waited), true)
  }
}

import type { Commit, Op, Position } from '../../../openapi/schemas/state.ts'
import type { Clock, Timer } from '../../support/clock.ts'
import { StateLeaseLostError } from '../../support/errors.ts'
import { beatKey, type LeaseProof, leaseKey } from './proof.ts'

/** Of its ttl; so much earlier its holder gives it up: clocks run at different speeds. */
const MARGIN = 0.1
/** How often it is renewed in its ttl, and tried again when that fails. */
const BEATS = 3
const TRIES = 10

/** What a lease needs of its space. */
export interface LeaseLog {
  commit(ops: readonly Op[], options: { compareLease: LeaseProof }): Promise<Commit>
}

export interface LeaseHolding extends LeaseProof {
  ttl: number
  /** On the monotonic clock, before the last commit that showed that its holder is there was sent. */
  since: number
}

/**
 * A lease that this instance holds. It is renewed by itself until it is released.
 *
 *   held --renewed in time--> held
 *   held --release, or the space is closed--> over, and the next one may have it at once
 *   held --not renewed in time, or somebody else has it--> over: `signal` aborts before anybody else can have it
 *
 * A process that was stopped does not notice in time. What must never happen twice is therefore written with
 * `compareLease`, which is decided by the log and by no clock.
 *
 * @example
 * const lease = await app.state.lease('report', { ttl: '10s' })
 * try {
 *   const report = await makeReport({ signal: lease.signal })
 *   await app.state.set('report', report, { compareLease: lease })
 * } finally {
 *   await lease.release()
 * }
 */
export class Lease implements LeaseProof {
  readonly name: string
  /** Where it was taken: higher than the token of every holder before. */
  readonly token: Position
  readonly #log: LeaseLog
  readonly #clock: Clock
  readonly #ttl: number
  readonly #onOver: () => void
  readonly #over = new AbortController()
  #released = false
  #until: number
  #beat: Timer | undefined
  #end: Timer | undefined

  constructor(log: LeaseLog, clock: Clock, { name, token, ttl, since }: LeaseHolding, onOver: () => void) {
    this.name = name
    this.token = token
    this.#log = log
    this.#clock = clock
    this.#ttl = ttl
    this.#onOver = onOver
    this.#until = this.#lasting(since)
    this.#watchEnd()
    this.#beat = clock.after(ttl / BEATS, () => void this.#renew())
  }

  /** Aborts when it is over, or may be: then what it protects must stop. */
  get signal(): AbortSignal {
    // Timers of a suspended process fire late; a question is answered truthfully at once.
    if (this.#clock.monotonic() >= this.#until) this.#lose()
    return this.#over.signal
  }

  /** Whether it surely is this instance's, as far as its clock can tell. */
  get held(): boolean {
    return !this.signal.aborted
  }

  /** Gives it back, so that others need not wait for its end. Calling it again does nothing. */
  async release(): Promise<void> {
    if (this.#released) return
    this.#released = true
    // One that was given up for lack of time may still stand in the log, and keep others waiting.
    this.#finish(new DOMException(`The lease '${this.name}' was released.`, 'AbortError'))
    const ops: Op[] = [
      { op: 'delete', key: leaseKey(this.name) },
      { op: 'delete', key: beatKey(this.name) },
    ]
    await this.#log.commit(ops, { compareLease: this }).catch((error) => {
      if (!(error instanceof StateLeaseLostError)) throw error
    })
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.release()
  }

  async #renew(): Promise<void> {
    const since = this.#clock.monotonic()
    let pause = this.#ttl / BEATS
    try {
      await this.#log.commit([{ op: 'increment', key: beatKey(this.name) }], { compareLease: this })
      this.#until = Math.max(this.#until, this.#lasting(since))
    } catch (error) {
      if (error instanceof StateLeaseLostError) return this.#lose()
      // The store is away: it may come back before the end.
      pause = this.#ttl / TRIES
    }
    if (this.#over.signal.aborted) return
    this.#watchEnd()
    this.#beat = this.#clock.after(pause, () => void this.#renew())
  }

  #lasting(since: number): number {
    return since + this.#ttl * (1 - MARGIN)
  }

  #watchEnd(): void {
    this.#end?.cancel()
    const left = this.#until - this.#clock.monotonic()
    if (left <= 0) this.#lose()
    else this.#end = this.#clock.after(left, () => void this.signal)
  }

  #lose(): void {
    this.#finish(new StateLeaseLostError(this.name))
  }

  #finish(reason: Error): void {
    if (this.#over.signal.aborted) return
    this.#beat?.cancel()
    this.#end?.cancel()
    this.#over.abort(reason)
    this.#onOver()
  }
}

import type { Clock, Timer } from '../../support/clock.ts'
import { unique } from '../tier/record.ts'
import type { Journal } from './journal.ts'

/** How often a lease is renewed within its time. */
const RENEWALS = 3
/** The share of it after which an owner that could not renew it stops: before anybody else can begin. */
const TRUSTED = 0.9

/**
 * The right of one instance to hand over a writer's journal.
 *
 *     none ── take: nobody has it ──▶ held ── renewed again and again ──▶ held
 *      ▲                               │
 *      ├────────── release ────────────┤
 *      └── lost: another one has it, or it could not be renewed in time ──▶ `onLost`
 */
export class Ownership {
  readonly #writer: string
  readonly #journal: Pick<Journal, 'shared' | 'own' | 'disown'>
  readonly #lease: number
  readonly #clock: Clock
  readonly #onLost: (why: string) => void
  readonly #id = unique()
  /** What it was given last; also after it was lost, for the next time. */
  #token = 0
  #held = false
  #wanted = false
  #renewing: Timer | undefined
  #ending: Timer | undefined

  /** @param lease in ms */
  constructor(
    writer: string,
    journal: Pick<Journal, 'shared' | 'own' | 'disown'>,
    { lease, clock }: { lease: number; clock: Clock },
    onLost: (why: string) => void,
  ) {
    this.#writer = writer
    this.#journal = journal
    this.#lease = lease
    this.#clock = clock
    this.#onLost = onLost
  }

  get held(): boolean {
    return this.#held
  }

  /** Whether other instances would hand over as well, as of the last renewal. */
  get wanted(): boolean {
    return this.#wanted
  }

  /** Goes with every change that the owner makes to the journal. */
  get token(): number {
    return this.#token
  }

  /** Resolves to 0 when it is held, else to how many ms another instance still has it. */
  async take(): Promise<number> {
    if (this.#held) return 0
    const sent = this.#clock.monotonic()
    const answer = await this.#journal.own(this.#writer, { by: this.#id, ms: this.#lease, token: this.#token })
    if ('busy' in answer) return Math.max(1, answer.busy)
    this.#token = answer.token
    this.#held = true
    this.#wanted = false
    // In a journal of this process alone there is no other candidate.
    if (!this.#journal.shared) return 0
    this.#trustFrom(sent)
    this.#renewing = this.#clock.every(this.#lease / RENEWALS, () => void this.#renew())
    return 0
  }

  /** Another instance may begin at once. */
  async release(): Promise<void> {
    if (!this.#held) return
    this.#end()
    await this.#journal.disown(this.#writer, this.#id)
  }

  /** Nothing is done as the owner any more; the lease runs out by itself. */
  abandon(): void {
    this.#end()
  }

  /** Somebody was told that it is another's. */
  lose(why: string): void {
    if (!this.#held) return
    this.#end()
    this.#onLost(why)
  }

  async #renew(): Promise<void> {
    const sent = this.#clock.monotonic()
    const token = this.#token
    try {
      const answer = await this.#journal.own(this.#writer, { by: this.#id, ms: this.#lease, token })
      if (!this.#held || this.#token !== token) return
      if ('busy' in answer || answer.token !== token) this.lose('another instance has taken over')
      else {
        this.#wanted = answer.wanted
        this.#trustFrom(sent)
      }
    } catch {
      // Tried again soon; the time that is left is counted by the other timer.
    }
  }

  /** The store counts from when it was asked, or later: by the time it lets somebody else in, this has stopped. */
  #trustFrom(sent: number): void {
    this.#ending?.cancel()
    const left = sent + this.#lease * TRUSTED - this.#clock.monotonic()
    this.#ending = this.#clock.after(Math.max(0, left), () => this.lose('its lease could not be renewed in time'))
  }

  #end(): void {
    this.#held = false
    this.#renewing?.cancel()
    this.#ending?.cancel()
  }
}

import type { Clock, Timer } from '../../support/clock.ts'
import type { CacheTier, Head, Message } from '../tier/contract.ts'

interface Reactions {
  /** A mutation, in order and without gaps. */
  onMessage(message: Message): void
  /** Messages may be missing: nothing that was learnt before is certain any more. */
  onLost(): void
  onFailure(error: unknown): void
}

/** Beats without a read between after which a bucket is at rest: the proof is not needed. */
const REST_AFTER = 8
/** Of a bucket at rest, every so many beats is sent: enough to find out that the store is away. */
const REST_BEATS = 20

/**
 * Keeps account of what this instance has heard of a bucket's mutations.
 *
 * Messages carry consecutive numbers, so a lost one shows as a gap, and one that comes twice or late is dropped.
 * A silent bus shows nothing, hence the beat: it reads the head's number at the store, and when everything up to it
 * has been heard, the first level is proven current *as of the moment the beat was sent*, on this process's monotonic
 * clock. It is good until that moment plus the window. No clocks of different hosts are compared.
 *
 * A bucket that is not read is at rest and beats rarely; the first read finds no proof, asks the second level and
 * has the proof made again.
 */
export class Coherence {
  readonly #tier: CacheTier
  readonly #bucket: string
  readonly #clock: Clock
  readonly #window: number
  readonly #reactions: Reactions
  #epoch: string | undefined
  #seq = 0
  #until = Number.NEGATIVE_INFINITY
  #beating: Promise<void> | undefined
  /** A beat that saw a number which the bus has not delivered yet. */
  #awaited: { seq: number; sent: number } | undefined
  #timer: Timer | undefined
  #used = false
  /** Beats that were due since the last read. */
  #unused = 0
  #unsubscribe: (() => Promise<void>) | undefined
  #unwatch: (() => void) | undefined

  constructor(tier: CacheTier, bucket: string, clock: Clock, window: number, reactions: Reactions) {
    this.#tier = tier
    this.#bucket = bucket
    this.#clock = clock
    this.#window = window
    this.#reactions = reactions
  }

  /** Whether the first level may be served at this moment of the monotonic clock. */
  proves(now: number): boolean {
    this.#used = true
    if (now < this.#until) return true
    if (this.#unused > REST_AFTER) {
      this.#unused = 0
      void this.beat()
    }
    return false
  }

  /** For those who only look on: whether there is a proof, or was one at the last beat of a bucket at rest. */
  stands(now: number): boolean {
    const rest = this.#unused > REST_AFTER ? ((REST_BEATS + 1) * this.#window) / 2 : 0
    return now < this.#until + rest
  }

  /** Every mutation up to this number has been heard. */
  get seq(): number {
    return this.#seq
  }

  get epoch(): string | undefined {
    return this.#epoch
  }

  /** Listens and gets the first proof; when the store is away it goes on trying. Never rejects. */
  async start(): Promise<void> {
    if (this.#timer) return
    this.#unwatch = this.#tier.onInterrupted(() => this.#doubt())
    // Two beats in a window, so that one may be late.
    this.#timer = this.#clock.every(Math.max(1, this.#window / 2), () => this.#due())
    await this.beat()
  }

  async stop(): Promise<void> {
    this.#timer?.cancel()
    this.#unwatch?.()
    this.#until = Number.NEGATIVE_INFINITY
    await this.#beating
    await this.#unsubscribe?.().catch(() => {})
  }

  #due(): void {
    this.#unused = this.#used ? 0 : this.#unused + 1
    this.#used = false
    if (this.#unused <= REST_AFTER || this.#unused % REST_BEATS === 0) void this.beat()
  }

  /** One beat at a time; resolves when it is through, also if it failed. */
  beat(): Promise<void> {
    this.#beating ??= this.#beat()
      .catch((error: unknown) => this.#reactions.onFailure(error))
      .finally(() => {
        this.#beating = undefined
      })
    return this.#beating
  }

  async #beat(): Promise<void> {
    this.#unsubscribe ??= await this.#tier.subscribe(this.#bucket, (message) => this.#hear(message))
    const known = this.#seq
    const sent = this.#clock.monotonic()
    this.#settle(await this.#tier.head(this.#bucket), known, sent)
  }

  #settle(head: Head, known: number, sent: number): void {
    const missed = this.#awaited !== undefined && this.#awaited.seq > this.#seq
    if (head.epoch !== this.#epoch || head.seq < known || missed) {
      this.#lose(head.epoch, head.seq)
      this.#prove(sent)
    } else if (head.seq <= this.#seq) {
      this.#prove(sent)
    } else {
      this.#awaited = { seq: head.seq, sent }
    }
  }

  #hear(message: Message): void {
    if (message.epoch === this.#epoch) {
      if (message.seq <= this.#seq) return
      if (message.seq === this.#seq + 1) {
        this.#seq = message.seq
        this.#reactions.onMessage(message)
        if (this.#awaited && this.#awaited.seq <= this.#seq) this.#prove(this.#awaited.sent)
        return
      }
    }
    this.#lose(message.epoch, message.seq)
    void this.beat()
  }

  /**
   * The next answer may come from another store, so nothing is proven until it has told its head, and then everything
   * that was learnt before is gone. Until then the first level is what there is, see `outage.serveL1`.
   */
  #doubt(): void {
    this.#epoch = undefined
    this.#seq = 0
    this.#awaited = undefined
    this.#until = Number.NEGATIVE_INFINITY
  }

  #lose(epoch: string, seq: number): void {
    this.#doubt()
    this.#epoch = epoch
    this.#seq = seq
    this.#reactions.onLost()
  }

  #prove(sent: number): void {
    this.#awaited = undefined
    this.#until = this.#tier.shared ? Math.max(this.#until, sent + this.#window) : Number.POSITIVE_INFINITY
  }
}

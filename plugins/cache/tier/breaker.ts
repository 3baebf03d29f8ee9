import type { CacheStats } from '../../../openapi/schemas/cache.ts'
import { isRefusal } from '../../storage/failure.ts'
import type { Clock, Timer } from '../../support/clock.ts'
import { GENERATION } from '../names.ts'
import { partOf } from './buckets.ts'
import { type CacheTier, DEFERRED, type Invalidation, type Mutation } from './contract.ts'

export interface BreakerOptions {
  clock: Clock
  /** Longest time that the store may take for one step, in ms. */
  deadline: number
  /** So many failures in a row open the circuit, or more than a third of all steps for a while. */
  failures: number
  /** How long it stays open before one step is let through to try, in ms. */
  pause: number
  /** Keeps invalidations that the store did not confirm, and carries them out before anything is read again. */
  journal: boolean
  onChange: (open: boolean) => void
}

interface Deferred {
  bucket: string
  /** `undefined` after too many: then the whole bucket is cleared. */
  what: (Invalidation & { expire?: boolean }) | undefined
}

/**
 * The state of one way to the store.
 *
 *     closed ── so many failures, or an invalidation is kept for later ──▶ open ── after a pause ──▶ probing (one `head`)
 *       ▲                                                                   ▲                          │       │
 *       │                                                                   └──────── it fails ────────┘       │
 *       └──────────────────── it succeeds, and all that was kept has been carried out ─────────────────────────┘
 */
class Circuit {
  failures = 0
  openedAt: number | undefined
  probing = false
  deferred: Deferred[] = []
}

interface Running {
  until: number
  /** What the store had sent when it began. */
  received: number
  /** How often its deadline was put off. */
  spared: number
  /** Further deadlines that it has, as it is more than one command. */
  further: number
  late: boolean
  refuse(error: Error): void
}

const MAX_DEFERRED = 10_000
/**
 * The timer of a deadline comes before the answers that have arrived while the event loop was busy: when it is so many
 * milliseconds late itself, they are read first.
 */
const BUSY = 25
/** Bytes that a store surely moves in a millisecond: large values take longer, and so does what waits behind them. */
const PACE = 10_000
const MAX_SPARED = 40
/** So many keys and names go in one command. */
const AT_ONCE = 500
/** While a write of so many bytes is on its way nothing is told by what fails behind it. */
const LARGE = 2 ** 20
/** What a success takes off the count of failures: a store that fails more than every third time is no good either. */
const FORGIVEN = 0.5

/**
 * A store that is away must not cost every caller its timeout: after a few failures the circuit is open and every
 * step fails at once, until a `head` (the beat of coherence asks for it all the time) has got through. Before the
 * circuit closes, the invalidations that were kept meanwhile are carried out, so nothing can be read that they forbid.
 *
 * On a Cluster there is a circuit for each part of the slots, hence for the nth buckets of all namespaces: one shard
 * that is away leaves the others alone.
 *
 * Only a store that does not answer is away. One that refuses (it is full, a right is missing) has answered; one that
 * is busy with a large value is moving bytes; and an event loop that is busy itself has not looked yet.
 */
export class Breaker implements CacheTier {
  readonly shared = true
  readonly kind: CacheTier['kind']
  readonly #tier: CacheTier
  readonly #options: BreakerOptions
  readonly #circuits = new Map<string, Circuit>()
  /** How many are open. */
  #open = 0
  #outages = 0
  /** In the order of their deadlines. */
  readonly #running = new Set<Running>()
  #timer: Timer | undefined
  /** Bytes of writes that have no answer yet. */
  #sending = 0

  constructor(tier: CacheTier, options: BreakerOptions) {
    this.kind = tier.kind
    this.#tier = tier
    this.#options = options
  }

  stats(): NonNullable<CacheStats['breaker']> {
    let deferred = 0
    for (const circuit of this.#circuits.values()) deferred += circuit.deferred.length
    return { open: this.#open, outages: this.#outages, deferred }
  }

  resetStats(): void {
    this.#outages = 0
  }

  buckets(namespace: string): readonly string[] {
    return this.#tier.buckets(namespace)
  }

  awaySince(bucket: string): number | undefined {
    return this.#circuitOf(bucket).openedAt
  }

  now(bucket: string): number {
    return this.#tier.now(bucket)
  }

  get: CacheTier['get'] = (bucket, keys) =>
    this.#through(bucket, () => this.#tier.get(bucket, keys), { size: keys.length })
  stamps: CacheTier['stamps'] = (bucket, names) => this.#through(bucket, () => this.#tier.stamps(bucket, names))
  exists: CacheTier['exists'] = (bucket) => this.#through(bucket, () => this.#tier.exists(bucket))
  lease: CacheTier['lease'] = (bucket, request) => this.#through(bucket, () => this.#tier.lease(bucket, request))
  renew: CacheTier['renew'] = (bucket, lease) => this.#through(bucket, () => this.#tier.renew(bucket, lease))
  release: CacheTier['release'] = (bucket, lease) => this.#through(bucket, () => this.#tier.release(bucket, lease))
  fill: CacheTier['fill'] = (bucket, fill) =>
    this.#sized(fill.data.length, () => this.#through(bucket, () => this.#tier.fill(bucket, fill)))
  put: CacheTier['put'] = (bucket, entries, stamps) =>
    this.#sized(
      entries.reduce((bytes, { data }) => bytes + data.length, 0),
      () =>
        this.#through(bucket, () => this.#tier.put(bucket, entries, stamps), { size: entries.length + stamps.length }),
    )

  invalidate: CacheTier['invalidate'] = (bucket, what) =>
    // A pattern goes through all keys: it has the deadlines of its commands, not one for the whole.
    this.#orLater(bucket, what, () => this.#tier.invalidate(bucket, what), what.pattern === undefined)

  expire: CacheTier['expire'] = (bucket, keys) =>
    this.#orLater(bucket, { keys, expire: true }, () => this.#tier.expire(bucket, keys), true)

  head: CacheTier['head'] = async (bucket) => {
    const circuit = this.#circuitOf(bucket)
    if (circuit.openedAt === undefined) {
      const head = await this.#through(bucket, () => this.#tier.head(bucket))
      // It would prove something current while an invalidation waits to be carried out.
      if (circuit.openedAt !== undefined) throw new Error('the circuit has opened')
      return head
    }
    const rested = this.#options.clock.monotonic() - circuit.openedAt >= this.#options.pause
    if (circuit.probing || !rested) throw new Error('the circuit is open')
    circuit.probing = true
    try {
      const head = await this.#within(this.#tier.head(bucket))
      await this.#catchUp(circuit)
      this.#closeCircuit(circuit)
      return head
    } finally {
      circuit.probing = false
    }
  }

  subscribe: CacheTier['subscribe'] = (...args) => this.#within(this.#tier.subscribe(...args))

  /** With the deadlines of its commands, like everything that goes through all keys. */
  keys(bucket: string, incomplete?: 'clear' | 'tell'): AsyncIterable<string[]> {
    return this.#tier.keys(bucket, incomplete)
  }

  onInterrupted(listener: () => void): () => void {
    return this.#tier.onInterrupted(listener)
  }

  close(): Promise<void> {
    this.#timer?.cancel()
    return this.#tier.close()
  }

  /** Written without `async`: every read of the second level goes through here, and each layer of promises costs. */
  #through<T>(bucket: string, step: () => Promise<T>, { timed = true, size = 1 } = {}): Promise<T> {
    const circuit = this.#circuitOf(bucket)
    if (circuit.openedAt !== undefined) return Promise.reject(new Error('the circuit is open'))
    return this.#within(step(), timed ? this.#options.deadline : Number.POSITIVE_INFINITY, size, circuit)
  }

  #failed(circuit: Circuit, error: unknown): void {
    if (isRefusal(error) || this.#sending > LARGE) return
    if (++circuit.failures >= this.#options.failures) this.#openCircuit(circuit)
  }

  #sized<T>(bytes: number, step: () => Promise<T>): Promise<T> {
    if (bytes < PACE) return step()
    this.#sending += bytes
    return step().finally(() => {
      this.#sending -= bytes
    })
  }

  async #orLater(
    bucket: string,
    what: Invalidation & { expire?: boolean },
    step: () => Promise<Mutation>,
    timed: boolean,
  ): Promise<Mutation> {
    try {
      const size = (what.keys?.length ?? 0) + (what.names?.length ?? 0)
      return await this.#through(bucket, step, { timed, size })
    } catch (error) {
      if (!this.#options.journal) throw error
      const circuit = this.#circuitOf(bucket)
      this.#defer(circuit, { bucket, what })
      // Until it has been carried out nothing may be read from the store.
      this.#openCircuit(circuit)
      return { epoch: DEFERRED, seq: 0, removed: 0 }
    }
  }

  #circuitOf(bucket: string): Circuit {
    const part = partOf(bucket)
    let circuit = this.#circuits.get(part)
    if (circuit) return circuit
    circuit = new Circuit()
    this.#circuits.set(part, circuit)
    return circuit
  }

  #defer(circuit: Circuit, deferred: Deferred): void {
    circuit.deferred.push(deferred)
    if (circuit.deferred.length <= MAX_DEFERRED) return
    const buckets = new Set(circuit.deferred.map(({ bucket }) => bucket))
    circuit.deferred = [...buckets].map((bucket) => ({ bucket, what: undefined }))
  }

  async #catchUp(circuit: Circuit): Promise<void> {
    for (let next = circuit.deferred[0]; next; next = circuit.deferred[0]) {
      const { bucket, what } = next
      const step = what?.expire
        ? this.#tier.expire(bucket, what.keys ?? [])
        : this.#tier.invalidate(bucket, what ?? { names: [GENERATION] })
      await (what?.pattern === undefined ? this.#within(step) : step)
      circuit.deferred = circuit.deferred.filter((other) => other !== next)
    }
  }

  #openCircuit(circuit: Circuit): void {
    if (circuit.openedAt !== undefined) return
    circuit.openedAt = this.#options.clock.monotonic()
    this.#outages++
    if (++this.#open === 1) this.#options.onChange(true)
  }

  #closeCircuit(circuit: Circuit): void {
    // One that failed while the others were carried out.
    if (circuit.deferred.length > 0) return
    circuit.failures = 0
    circuit.openedAt = undefined
    if (--this.#open === 0) this.#options.onChange(false)
  }

  /** All steps have the same deadline, so the oldest is the next to be late: one timer serves them all. */
  #within<T>(step: Promise<T>, ms = this.#options.deadline, size = 1, circuit?: Circuit): Promise<T> {
    return new Promise((resolve, reject) => {
      const refuse = (error: unknown) => {
        this.#running.delete(running)
        if (circuit) this.#failed(circuit, error)
        reject(error)
      }
      const until = this.#options.clock.monotonic() + ms
      const further = Math.ceil(size / AT_ONCE) - 1
      const running: Running = { until, received: this.#received(), spared: 0, further, late: false, refuse }
      if (ms < Number.POSITIVE_INFINITY) {
        this.#running.add(running)
        this.#arm()
      }
      step.then(
        (value) => {
          this.#running.delete(running)
          if (circuit && !running.late && circuit.failures > 0) {
            circuit.failures = Math.max(0, circuit.failures - FORGIVEN)
          }
          resolve(value)
        },
        (error: unknown) => {
          if (!running.late) refuse(error)
        },
      )
    })
  }

  #arm(): void {
    if (this.#timer) return
    const [oldest] = this.#running
    if (!oldest) return
    const { clock } = this.#options
    const before = clock.monotonic()
    const wait = Math.max(1, oldest.until - before)
    this.#timer = clock.after(wait, () => {
      this.#timer = undefined
      const now = clock.monotonic()
      const lag = now - before - wait
      for (const running of [...this.#running]) {
        if (running.until > now) break
        const grace = this.#grace(running, lag)
        if (grace > 0) {
          // Behind the others: the order is that of the deadlines.
          this.#running.delete(running)
          this.#running.add(running)
          running.until = now + grace
          continue
        }
        running.late = true
        running.refuse(new Error('the store took too long'))
      }
      this.#arm()
    })
  }

  /** For how many milliseconds a step that is late is no sign that the store is away. */
  #grace(running: Running, lag: number): number {
    const { deadline } = this.#options
    if (running.further-- > 0) return deadline
    if (++running.spared > MAX_SPARED) return 0
    const received = this.#received()
    if (received - running.received >= deadline * PACE) {
      running.received = received
      return deadline
    }
    if (running.spared === 1) return Math.max(lag > BUSY ? Math.min(lag, deadline) : 0, this.#sending / PACE)
    return lag > BUSY && running.spared < 4 ? BUSY : 0
  }

  #received(): number {
    return this.#tier.received?.() ?? 0
  }
}

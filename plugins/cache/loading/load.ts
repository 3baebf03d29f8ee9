import { AsyncLocalStorage } from 'node:async_hooks'
import type { Found } from '../coherence/levels.ts'

/** In whose loader the present code runs. On while loaders run, as in Node 20 it makes every promise dearer. */
const inside = new AsyncLocalStorage<Load>()
let running = 0

/**
 * One load under way, for all who ask for its key in this process.
 *
 * ```text
 * asked ──run──▶ loading ──end──▶ ended
 *   └──────────────┴──abandon──▶ abandoned (nobody waits any more: its loader is told to stop)
 * ```
 */
export class Load {
  /** Whose it is: keys are apart by namespace. */
  readonly owner: object
  readonly key: string
  readonly startedAt: number
  /** Renewals of stamps heard before it began: after another one, callers may not join. */
  readonly renewals: number
  /** Whether its callers take a stale value. */
  readonly allowsStale: boolean
  /** The load in whose loader it was asked for. */
  readonly parent: Load | undefined
  promise: Promise<unknown> = Promise.resolve()
  /** Given to its callers while it runs. */
  stale: Found | undefined
  /** Why it is no longer waited for. */
  abandoned: { reason: unknown } | undefined
  readonly #onAbandoned: (load: Load) => void
  readonly #awaits = new Set<Load>()
  /** Callers that may leave; the others wait to the end. */
  #leaving = 0
  #staying = false
  #running = false
  #ended = false
  #stop: ((reason: unknown) => void) | undefined

  constructor(
    from: Pick<Load, 'owner' | 'key' | 'startedAt' | 'renewals' | 'allowsStale'>,
    onAbandoned: (load: Load) => void,
  ) {
    this.owner = from.owner
    this.key = from.key
    this.startedAt = from.startedAt
    this.renewals = from.renewals
    this.allowsStale = from.allowsStale
    this.parent = Load.current
    this.#onAbandoned = onAbandoned
    if (this.parent) this.parent.#awaits.add(this)
  }

  static get current(): Load | undefined {
    const load = running > 0 ? inside.getStore() : undefined
    return load === undefined || load.#ended ? undefined : load
  }

  /** Whether a load of this key, asked for at this place, would wait for itself. */
  static nests(owner: object, key: string): boolean {
    for (let load = Load.current; load; load = load.parent) {
      if (load.owner === owner && load.key === key && !load.#ended) return true
    }
    return false
  }

  /** Whether it waits for the load in whose loader the present code runs: to join it would be to wait for oneself. */
  waitsForCurrent(): boolean {
    const { current } = Load
    if (current === undefined) return false
    const seen = new Set<Load>([this])
    for (const load of seen) {
      if (load === current) return true
      for (const other of load.#awaits) if (!other.#ended) seen.add(other)
    }
    return false
  }

  /** It goes on also when no caller is left. */
  stay(): void {
    this.#staying = true
  }

  /** The outcome for one caller, who may leave before it by `signal`. */
  wait(signal: AbortSignal | undefined): Promise<unknown> {
    const { current } = Load
    if (current && current !== this) current.#awaits.add(this)
    if (signal === undefined) {
      this.#staying = true
      return this.promise
    }
    this.#leaving++
    return new Promise((resolve, reject) => {
      const leave = () => {
        reject(signal.reason)
        if (--this.#leaving === 0 && !this.#staying) this.#abandon(signal.reason)
      }
      signal.addEventListener('abort', leave, { once: true })
      this.promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', leave))
    })
  }

  /** Runs the loader, unless all callers have left. @param stop called when they leave */
  run(loader: () => unknown, stop: (reason: unknown) => void): Promise<unknown> {
    if (this.abandoned) return Promise.reject(this.abandoned.reason)
    this.#running = true
    running++
    return new Promise((resolve, reject) => {
      this.#stop = (reason) => {
        stop(reason)
        reject(reason)
      }
      inside.run(this, async () => loader()).then(resolve, reject)
    })
  }

  end(): void {
    this.#ended = true
    this.#stop = undefined
    if (!this.#running) return
    this.#running = false
    if (--running === 0) inside.disable()
  }

  #abandon(reason: unknown): void {
    if (this.#ended || this.abandoned) return
    this.abandoned = { reason }
    this.#onAbandoned(this)
    this.#stop?.(reason)
  }
}

import type { CacheNamespace } from '../../../../plugins/cache/index.ts'
import type { History, Invalidated, Value } from './history.ts'

export const KEYS = ['user:1', 'user:2', 'post:1']
/** What each entry carries, whoever stores it. */
const TAGS: Record<string, string[]> = { 'user:1': ['x', 'y'], 'user:2': ['x'], 'post:1': ['y'] }
const TAGGED = KEYS.filter((key) => TAGS[key]?.includes('y'))
/** Caches of a history declare it. */
export const PREFIX = 'user:'
const USERS = KEYS.filter((key) => key.startsWith(PREFIX))

/** What applications do with a cache. */
export type Action =
  | ('get' | 'load' | 'staleLoad' | 'lateTagLoad' | 'set')
  | ('delete' | 'expire' | 'tag' | 'pattern' | 'prefix' | 'clear')

/** Virtual or real. */
export interface Time {
  readonly now: number
  after(ms: number): Promise<unknown>
}

/** Does things with several instances of one namespace and writes down what it was told. */
export class Player {
  readonly history: History = { births: new Map(), invalidations: [], reads: [] }
  readonly #caches: readonly CacheNamespace[]
  readonly #time: Time
  readonly #running = new Set<Promise<unknown>>()
  #events = 0

  constructor(caches: readonly CacheNamespace[], time: Time) {
    this.#caches = caches
    this.#time = time
  }

  get instances(): number {
    return this.#caches.length
  }

  /** Everything that was begun has ended, well or not. */
  async settled(): Promise<void> {
    await Promise.all(this.#running)
  }

  /** @param loading how long the loader takes, in ms */
  act(kind: Action, instance: number, key: string, loading: number): void {
    const actions: Record<Action, () => void> = {
      get: () => this.get(instance, key),
      load: () => this.#load(instance, key, loading, kind),
      staleLoad: () => this.#load(instance, key, loading, kind),
      lateTagLoad: () => this.#load(instance, key, loading, kind),
      set: () => this.#set(instance, key),
      delete: () => this.#invalidate(instance, [key], kind, (cache) => cache.delete(key)),
      expire: () => this.#invalidate(instance, [key], kind, (cache) => cache.expire(key), true),
      tag: () => this.#invalidate(instance, TAGGED, kind, (cache) => cache.invalidateTags('y')),
      pattern: () => this.#invalidate(instance, KEYS, kind, (cache) => cache.deleteMatching('*s*:?')),
      prefix: () => this.#invalidate(instance, USERS, kind, (cache) => cache.deleteMatching(`${PREFIX}*`)),
      clear: () => this.#invalidate(instance, KEYS, kind, (cache) => cache.clear()),
    }
    actions[kind]()
  }

  get(instance: number, key: string): void {
    const cache = this.#caches[instance] as CacheNamespace
    const beganAt = this.#time.now
    const read = (how: string, value: Value | undefined) => {
      if (value) this.history.reads.push({ instance, how, key, takesStale: false, beganAt, value })
    }
    read('peek', cache.peek<Value>(key))
    this.#await(cache.get<Value>(key).then((value) => read('get', value)))
  }

  #load(instance: number, key: string, ms: number, how: string): void {
    const beganAt = this.#time.now
    const takesStale = how === 'staleLoad'
    const loader = async ({ tags }: { tags: string[] }): Promise<Value> => {
      const id = ++this.#events
      this.history.births.set(id, id)
      await this.#time.after(ms)
      if (how === 'lateTagLoad') tags.push(...(TAGS[key] as string[]))
      return { key, id }
    }
    const options = {
      ...(how === 'lateTagLoad' ? {} : { tags: TAGS[key] as string[] }),
      ...(takesStale ? { stale: 5_000 } : {}),
    }
    const answer = (this.#caches[instance] as CacheNamespace).getOrSet<Value>(key, loader, options)
    this.#await(
      answer.then(
        (value) => this.history.reads.push({ instance, how, key, takesStale, beganAt, value }),
        // A waiter may run into its deadline; that returns nothing old.
        () => {},
      ),
    )
  }

  #set(instance: number, key: string): void {
    const value: Value = { key, id: ++this.#events }
    // While it runs, or when nobody knows whether it happened, it may take effect after whatever else is done.
    this.history.births.set(value.id, Number.POSITIVE_INFINITY)
    this.#record(instance, [key], 'set', false, value.id, async (cache) => {
      await cache.set(key, value, { tags: TAGS[key] as string[] })
      this.history.births.set(value.id, ++this.#events)
    })
  }

  #invalidate(
    instance: number,
    keys: readonly string[],
    how: string,
    run: (cache: CacheNamespace) => Promise<unknown>,
    soft = false,
  ): void {
    this.#record(instance, keys, how, soft, ++this.#events, run)
  }

  #record(
    instance: number,
    keys: readonly string[],
    how: string,
    soft: boolean,
    beganAt: number,
    run: (cache: CacheNamespace) => Promise<unknown>,
  ): void {
    const invalidation: Invalidated = { keys, instance, how, soft, beganAt, doneAt: undefined }
    this.history.invalidations.push(invalidation)
    this.#await(
      run(this.#caches[instance] as CacheNamespace).then(
        () => {
          invalidation.doneAt = this.#time.now
        },
        () => {},
      ),
    )
  }

  #await(step: Promise<unknown>): void {
    this.#running.add(step)
    void step.then(() => this.#running.delete(step))
  }
}

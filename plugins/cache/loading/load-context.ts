import { checkedDuration, invalidOption, refuseUnknown } from '../../support/options.ts'
import type { Found } from '../coherence/levels.ts'
import { checkTags } from '../names.ts'
import { lifetime, type ResolvedOptions } from '../options.ts'
import { LOAD_OPTIONS, type LoadContext, type LoadOptions } from '../types.ts'

/** The options of a load, resolved; times in ms. */
export interface Plan {
  ttl: number
  stale: number
  softTimeout: number
  hardTimeout: number
  early: number
  negative: number
  tags: readonly string[]
}

/** @throws STATEFUL_INVALID_OPTION, STATEFUL_INVALID_DURATION, STATEFUL_INVALID_CACHE_KEY */
export function planOf(options: LoadOptions, { l2, loadTimeout }: ResolvedOptions): Plan {
  refuseUnknown(options, LOAD_OPTIONS)
  if (options.signal !== undefined && !(options.signal instanceof AbortSignal)) {
    throw invalidOption('signal', 'must be an AbortSignal.')
  }
  const tags = options.tags ?? []
  checkTags(tags)
  return {
    ttl: options.ttl === undefined ? l2.ttl : lifetime(options.ttl, 'ttl'),
    stale: options.stale === undefined ? 0 : lifetime(options.stale, 'stale'),
    softTimeout: options.softTimeout === undefined ? 0 : checkedDuration(options.softTimeout, 'softTimeout'),
    hardTimeout: options.timeout === undefined ? loadTimeout : checkedDuration(options.timeout, 'timeout'),
    early: options.early ?? (options.stale === undefined ? 0 : 1),
    negative: options.negative === undefined ? 0 : checkedDuration(options.negative, 'negative'),
    tags,
  }
}

/** What a loader is told and may say, see {@link LoadContext}. */
export class Context implements LoadContext {
  readonly key: string
  readonly staleValue: unknown
  readonly tags: string[]
  ttl: number
  stale: number
  skipped = false
  readonly #abort = new AbortController()

  constructor(key: string, plan: Plan, found: Found | undefined) {
    this.key = key
    this.ttl = plan.ttl
    this.stale = plan.stale
    this.tags = [...plan.tags]
    this.staleValue = found?.record.value
  }

  get signal(): AbortSignal {
    return this.#abort.signal
  }

  /** A function of its own, as `skip` is: loaders take `({ setTtl }) => …`. */
  readonly setTtl = (ttl: number | string, stale?: number | string): void => {
    this.ttl = lifetime(ttl, 'ttl', { least: 0 })
    if (stale !== undefined) this.stale = lifetime(stale, 'stale', { least: 0 })
  }

  readonly skip = (): void => {
    this.skipped = true
  }

  abort(reason: unknown): void {
    this.#abort.abort(reason)
  }
}

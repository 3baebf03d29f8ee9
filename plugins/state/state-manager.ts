import { randomBytes } from 'node:crypto'
import type { StateStats } from '../../openapi/schemas/state.ts'
import { type Clock, systemClock } from '../support/clock.ts'
import { InvalidSpaceError, TooManySpacesError } from '../support/errors.ts'
import type { StateLimits } from './limits.ts'
import type { StateLog } from './log.ts'
import { noCounts } from './sequencer-types.ts'
import { Space } from './space.ts'

export const DEFAULT_SPACE = 'app'
const SPACE_NAME = /^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$/

export interface StateManagerOptions {
  /** Makes the log of a space. */
  openLog: (space: string) => StateLog
  limits: StateLimits
  /** Milliseconds. */
  writeTimeout: number
  /** Milliseconds. */
  pollInterval: number
  /** Commits that are kept in memory for those who come back. */
  historyLimit: number
  clock?: Clock
  /** From 0 inclusive to 1 exclusive. Default: `Math.random`. */
  random?: () => number
  onError: (error: unknown, what: string) => void
}

/** The default space, which knows the others. */
export class StateManager extends Space {
  readonly #options: CompleteOptions
  readonly #spaces = new Map<string, Space>()

  constructor(options: StateManagerOptions) {
    const complete = { ...options, clock: options.clock ?? systemClock, random: options.random ?? Math.random }
    super(spaceOptions(DEFAULT_SPACE, complete))
    this.#options = complete
    this.#spaces.set(DEFAULT_SPACE, this)
  }

  /**
   * The space of this name, opened if it is not yet; await its `ready` before reading.
   * @throws STATEFUL_STATE_INVALID_SPACE, STATEFUL_STATE_TOO_MANY_SPACES
   */
  space(name: string): Space {
    const open = this.#spaces.get(name)
    if (open) return open
    if (typeof name !== 'string' || !SPACE_NAME.test(name)) throw new InvalidSpaceError(String(name).slice(0, 80))
    if (this.#spaces.size >= this.#options.limits.spaces) throw new TooManySpacesError(this.#spaces.size)
    const space = new Space(spaceOptions(name, this.#options))
    this.#spaces.set(name, space)
    // One that could not be loaded makes room; the next call tries again.
    space.ready.catch(() => {
      if (this.#spaces.get(name) === space) this.#spaces.delete(name)
      return space.close()
    })
    return space
  }

  /** Of every space. */
  get limits(): Readonly<StateLimits> {
    return this.#options.limits
  }

  /** Those that are open. */
  spaces(): Space[] {
    return [...this.#spaces.values()]
  }

  /** Of all open spaces together; `space.describe()` tells of one. */
  stats(): StateStats {
    const total: StateStats = {
      spaces: this.#spaces.size,
      revision: 0,
      keys: 0,
      bytes: 0,
      waiting: 0,
      retained: 0,
      ...noCounts(),
      epochChanges: 0,
      unreadable: 0,
    }
    for (const space of this.#spaces.values()) {
      const stats = space.describe()
      for (const name of Object.keys(total) as (keyof StateStats)[]) if (name !== 'spaces') total[name] += stats[name]
    }
    return total
  }

  override async close(): Promise<void> {
    const others = this.spaces().filter((space) => space !== this)
    await Promise.all([super.close(), ...others.map((space) => space.close())])
  }
}

type CompleteOptions = StateManagerOptions & Required<Pick<StateManagerOptions, 'clock' | 'random'>>

function spaceOptions(name: string, options: CompleteOptions) {
  const { openLog, limits, writeTimeout, pollInterval, historyLimit, clock, random, onError } = options
  return {
    name,
    log: openLog(name),
    limits,
    clock,
    random,
    // Stands in every record, so it is no longer than it must be to be unique.
    writerId: randomBytes(12).toString('base64url'),
    writeTimeout,
    pollInterval,
    historyLimit,
    onError: (error: unknown, what: string) => onError(error, `space ${name}: ${what}`),
  }
}

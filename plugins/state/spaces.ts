import type { StateStats } from '../../openapi/schemas/state.ts'
import type { Client } from '../support/client-limits.ts'
import { type Clock, sharedTimer, systemClock } from '../support/clock.ts'
import { InvalidSpaceError, StateClosedError, TooManySpacesError } from '../support/errors.ts'
import { SPACE_NAME } from '../support/keys.ts'
import { Lending } from '../support/lending.ts'
import { randomText } from '../support/random.ts'
import type { Retention, StateLog } from './log/contract.ts'
import { type ClientStateLimits, DEFAULT_CLIENT_LIMITS, type StateLimits } from './options.ts'
import { EmptySpace } from './replica/readable.ts'
import { Space, type SpaceCounts, type SpaceOptions } from './space.ts'
import { noCounts } from './writing/counts.ts'

export const DEFAULT_SPACE = 'app'

export interface StateManagerOptions {
  /**
   * Makes the log of a space.
   * @param forClient it is opened for a client: reading it must not make the space
   */
  openLog: (space: string, forClient: boolean) => StateLog
  limits: StateLimits
  /** Default {@link DEFAULT_CLIENT_LIMITS}. */
  clients?: ClientStateLimits
  /** Milliseconds. */
  writeTimeout: number
  /** Milliseconds. */
  pollInterval: number
  /** What a `$ref` in the schema of a key may name. */
  sharedSchemas?: () => Record<string, unknown>
  /** What is kept of each space for those who come back. */
  history: Retention
  clock?: Clock
  /** From 0 inclusive to 1 exclusive. Default: `Math.random`. */
  random?: () => number
  onError: (error: unknown, what: string) => void
}

/** A space for as long as a client has something to do with it. */
export interface BorrowedSpace {
  readonly space: Space
  /** After this the space may be closed. Calling it again does nothing. */
  release(): void
}

/** The default space, which knows the others. */
export class StateManager extends Space {
  readonly #options: CompleteOptions
  readonly #spaces: Lending<Space>
  /**
   * Those that are not open but that the application may have a reference to: it must not get another one of the same
   * name. A space without references is forgotten.
   */
  readonly #closed = new Map<string, WeakRef<Space>>()
  readonly #collected = new FinalizationRegistry<string>((name) => {
    if (!this.#closed.get(name)?.deref()) this.#closed.delete(name)
  })
  /** Those with schemas or middleware, which last even without references. */
  readonly #configured = new Set<Space>()
  /** What was counted in spaces that are not open. */
  readonly #past: SpaceCounts = { ...noCounts(), epochChanges: 0, unreadable: 0 }
  #ended = false

  constructor(options: StateManagerOptions) {
    const { clock = systemClock, random = Math.random, clients = DEFAULT_CLIENT_LIMITS, ...rest } = options
    const processId = randomText(12)
    const onPoll = sharedTimer(clock, options.pollInterval)
    const complete = { ...rest, clock, random, clients, processId, onPoll }
    const reopen = () => Promise.reject(new StateClosedError(DEFAULT_SPACE))
    super(spaceOptions(DEFAULT_SPACE, complete, { reopen, onConfigured() {}, onQuiet() {} }))
    this.#options = complete
    this.#spaces = new Lending<Space>({
      what: 'spaces',
      kept: options.limits.spaces,
      tooManyKept: (count) => new TooManySpacesError(count, options.writeTimeout),
      reopens: { lastUse: (space) => space.lastUse, patience: options.writeTimeout, waiting: options.limits.waiting },
      clients: {
        total: clients.spaces,
        perUser: clients.spacesPerUser,
        perSession: clients.spacesPerSession,
        idle: clients.idle,
      },
      clock,
      open: (name, forClient) => this.#open(name, forClient),
      close: (space) => (this.#ended ? space.end() : space.close()),
      busy: (space) => space.busy,
      onClosing: (space) => this.#remember(space),
      onError: options.onError,
    })
    this.#spaces.adopt(DEFAULT_SPACE, this)
    this.open(options.openLog(DEFAULT_SPACE, false))
  }

  /**
   * The space of this name, the same for as long as somebody has it; await its `ready` before reading. It is open as
   * long as it is used. When more than `limits.spaces` are, the one that was used the longest time ago is closed: of
   * those without listeners, writers and leases. It opens again by itself, see {@link Space}.
   * @throws STATEFUL_STATE_INVALID_SPACE
   */
  space(name: string): Space {
    checkName(name)
    return this.#spaces.keepIfThereIsRoom(name) ?? this.#known(name)
  }

  /**
   * The space of this name for something that a client does: within the bounds of clients, and closed some time after
   * it is no longer borrowed. Release it when the client is done with it.
   *
   * @example
   * const { space, release } = app.state.borrow('board', { userId, address })
   * try {
   *   await space.ready
   *   return space.get('title')
   * } finally {
   *   release()
   * }
   * @throws STATEFUL_STATE_INVALID_SPACE, STATEFUL_TOO_MANY_AT_ONCE, STATEFUL_OVERLOADED
   */
  borrow(name: string, client: Client): BorrowedSpace {
    checkName(name)
    const { thing: space, release } = this.#spaces.borrow(name, client)
    return { space, release }
  }

  /**
   * Lets a client read a space. One that is neither open nor was ever written to is empty, and is not opened for it.
   * @throws what `borrow` throws, STATEFUL_STORAGE_UNAVAILABLE, and what `read` throws
   */
  async readAs<Result>(
    client: Client,
    name: string,
    read: (space: Space | EmptySpace) => Result | Promise<Result>,
  ): Promise<Result> {
    checkName(name)
    if (!this.#spaces.get(name) && !(await this.#exists(name))) return read(new EmptySpace(name))
    const { space, release } = this.borrow(name, client)
    try {
      await space.ready
      return await read(space)
    } finally {
      release()
    }
  }

  /** Names of the spaces that are open on this instance, in order. */
  get openSpaces(): string[] {
    return this.#spaces
      .all()
      .map(({ name }) => name)
      .sort()
  }

  /** Of every space. */
  get limits(): Readonly<StateLimits> {
    return this.#options.limits
  }

  /** Of clients. */
  get clientLimits(): Readonly<ClientStateLimits> {
    return this.#options.clients
  }

  /** Those that are open, for the application and for clients. */
  spaces(): Space[] {
    return this.#spaces.all()
  }

  /** What there is in all open spaces together, and what happened in all; `space.describe()` tells of one. */
  stats(): StateStats {
    const total: StateStats = {
      spaces: this.#spaces.size,
      revision: 0,
      keys: 0,
      bytes: 0,
      waiting: 0,
      retained: 0,
      historyBytes: 0,
      ...this.#past,
    }
    for (const space of this.#spaces.all()) {
      const stats = space.describe()
      for (const name of Object.keys(total) as (keyof StateStats)[]) if (name !== 'spaces') total[name] += stats[name]
    }
    return total
  }

  override async close(): Promise<void> {
    this.#ended = true
    await Promise.all([this.end(), this.#spaces.close(this)])
  }

  #open(name: string, forClient: boolean): Space {
    const log = this.#options.openLog(name, forClient)
    const space = this.#known(name)
    this.#closed.delete(name)
    this.#count(space, -1)
    space.open(log)
    // One that could not be loaded makes room; the next call tries again.
    space.ready.catch(() => this.#spaces.forget(space))
    return space
  }

  /** The one of this name that there is, or a new one. */
  #known(name: string): Space {
    const known = this.#spaces.get(name) ?? this.#closed.get(name)?.deref()
    if (known) return known
    const reopen = async () => {
      await this.#spaces.keepAsSoonAsThereIsRoom(name).catch((error) => {
        throw this.#ended ? new StateClosedError(name) : error
      })
    }
    const onConfigured = () => void this.#configured.add(space)
    const onQuiet = () => this.#spaces.look()
    const space: Space = new Space(spaceOptions(name, this.#options, { reopen, onConfigured, onQuiet }))
    this.#closed.set(name, new WeakRef(space))
    this.#collected.register(space, name)
    return space
  }

  async #exists(name: string): Promise<boolean> {
    const log = this.#options.openLog(name, true)
    try {
      return await log.exists()
    } finally {
      await log.close()
    }
  }

  #remember(space: Space): void {
    this.#closed.set(space.name, new WeakRef(space))
    this.#count(space, 1)
  }

  /** Of those that are open it is asked; that of the others stays here. */
  #count(space: Space, sign: 1 | -1): void {
    const counts = space.counts()
    for (const count of Object.keys(counts) as (keyof SpaceCounts)[]) this.#past[count] += sign * counts[count]
  }
}

function checkName(name: string): void {
  if (typeof name !== 'string' || !SPACE_NAME.test(name)) throw new InvalidSpaceError(String(name).slice(0, 80))
}

type CompleteOptions = StateManagerOptions &
  Required<Pick<StateManagerOptions, 'clock' | 'random' | 'clients'>> &
  Pick<SpaceOptions, 'processId' | 'onPoll'>

function spaceOptions(
  name: string,
  { openLog: _, clients: __, ...options }: CompleteOptions,
  toManager: Pick<SpaceOptions, 'reopen' | 'onConfigured' | 'onQuiet'>,
): SpaceOptions {
  const onError = (error: unknown, what: string) => options.onError(error, `space ${name}: ${what}`)
  return { ...options, ...toManager, name, onError }
}

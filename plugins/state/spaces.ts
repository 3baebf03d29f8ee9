import type { StateStats } from '../../openapi/schemas/state.ts'
import type { Client } from '../support/client-limits.ts'
import { type Clock, sharedTimer, systemClock, type Timer } from '../support/clock.ts'
import { InvalidSpaceError, TooManySpacesError } from '../support/errors.ts'
import { SPACE_NAME } from '../support/keys.ts'
import { Lending } from '../support/lending.ts'
import { randomText } from '../support/random.ts'
import type { Retention, StateLog } from './log/contract.ts'
import { type ClientStateLimits, DEFAULT_CLIENT_LIMITS, type StateLimits } from './options.ts'
import { EmptySpace } from './replica/readable.ts'
import { Space } from './space.ts'
import { noCounts, type SequencerCounts } from './writing/counts.ts'

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
  /** Of spaces that have been closed. */
  readonly #past = noCounts()

  constructor(options: StateManagerOptions) {
    const { clock = systemClock, random = Math.random, clients = DEFAULT_CLIENT_LIMITS } = options
    const complete = { ...options, clock, random, clients, onPoll: sharedTimer(clock, options.pollInterval) }
    super(spaceOptions(DEFAULT_SPACE, complete))
    this.#options = complete
    this.#spaces = new Lending<Space>({
      what: 'spaces',
      kept: options.limits.spaces,
      tooManyKept: (count) => new TooManySpacesError(count),
      clients: {
        total: clients.spaces,
        perUser: clients.spacesPerUser,
        perSession: clients.spacesPerSession,
        idle: clients.idle,
      },
      clock,
      open: (name, forClient) => this.#open(name, complete, forClient),
      close: (space) => space.close(),
      busy: (space) => space.busy,
      onClosing: (space) => this.#remember(space),
      onError: options.onError,
    })
    this.#spaces.adopt(DEFAULT_SPACE, this)
  }

  /**
   * The space of this name, opened if it is not yet; await its `ready` before reading. It stays open as long as the
   * application runs, whatever clients do.
   * @throws STATEFUL_STATE_INVALID_SPACE, STATEFUL_STATE_TOO_MANY_SPACES
   */
  space(name: string): Space {
    checkName(name)
    return this.#spaces.keep(name)
  }

  /**
   * The space of this name for something that a client does: within the bounds of clients, and closed some time after
   * nobody has borrowed it any more. Release it when the client is done with it.
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

  /** Of every space. */
  get limits(): Readonly<StateLimits> {
    return this.#options.limits
  }

  /** Of clients. */
  get clientLimits(): Readonly<ClientStateLimits> {
    return this.#options.clients
  }

  /** Those that are open. Ask for one by its name to keep it: one that clients have opened may be closed again. */
  spaces(): Space[] {
    return this.#spaces.all()
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
      historyBytes: 0,
      epochChanges: 0,
      unreadable: 0,
      ...this.#past,
    }
    for (const space of this.#spaces.all()) {
      const stats = space.describe()
      for (const name of Object.keys(total) as (keyof StateStats)[]) if (name !== 'spaces') total[name] += stats[name]
    }
    return total
  }

  override async close(): Promise<void> {
    await Promise.all([super.close(), this.#spaces.close(this)])
  }

  #open(name: string, options: CompleteOptions, forClient: boolean): Space {
    const space = new Space(spaceOptions(name, options, forClient))
    // One that could not be loaded makes room; the next call tries again.
    space.ready.catch(() => this.#spaces.forget(space))
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
    const stats = space.describe()
    for (const count of Object.keys(this.#past) as (keyof SequencerCounts)[]) this.#past[count] += stats[count]
  }
}

function checkName(name: string): void {
  if (typeof name !== 'string' || !SPACE_NAME.test(name)) throw new InvalidSpaceError(String(name).slice(0, 80))
}

type CompleteOptions = StateManagerOptions &
  Required<Pick<StateManagerOptions, 'clock' | 'random' | 'clients'>> & { onPoll: (look: () => void) => Timer }

function spaceOptions(name: string, options: CompleteOptions, forClient = false) {
  const { openLog, limits, writeTimeout, pollInterval, onPoll, history, sharedSchemas, clock, random, onError } =
    options
  return {
    name,
    log: openLog(name, forClient),
    limits,
    clock,
    random,
    // Stands in every record, so it is no longer than it must be to be unique.
    writerId: randomText(12),
    writeTimeout,
    pollInterval,
    onPoll,
    history,
    sharedSchemas,
    onError: (error: unknown, what: string) => onError(error, `space ${name}: ${what}`),
  }
}

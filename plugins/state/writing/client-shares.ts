import { StateLimitError } from '../../support/errors.ts'
import type { StateLimits } from '../options.ts'
import type { Results } from '../replica/replica.ts'
import type { Sizes } from './staging.ts'

interface Holding {
  readonly client: string
  readonly bytes: number
}

const NOTHING: Sizes = { size: 0, bytes: 0 }

/** What every client may have of a space, however small the percentage of its limits is. */
const LEAST: Sizes = { size: 1_000, bytes: 1024 * 1024 }

/**
 * How much of a space each client fills. A key counts for the client who wrote it last through this instance, since
 * the space was opened here; what the application or another instance writes counts for no client. So a client has this
 * share once on each instance, and all clients together never more than theirs, which is exact.
 *
 * One made on top of another one sees that as it would be with its own changes, and leaves it as it is: for writes
 * that are not in the log yet.
 */
export class ClientShares {
  readonly #below: ClientShares | undefined
  readonly #holdings = new Map<string, Holding | undefined>()
  readonly #totals = new Map<string, Sizes>()

  constructor(below?: ClientShares) {
    this.#below = below
  }

  /** What the client fills. */
  of(client: string): Sizes {
    return this.#totals.get(client) ?? this.#below?.of(client) ?? NOTHING
  }

  /** A client has written these, or somebody who is none. */
  write(results: Results, client: string | undefined): void {
    if (client === undefined && this.#empty) return
    for (const [key, entry] of results) this.#hold(key, entry, client)
  }

  /** What is no longer as this instance wrote it. */
  forget(changes: readonly { key: string }[]): void {
    if (this.#empty) return
    for (const { key } of changes) this.#hold(key, undefined, undefined)
  }

  /**
   * Whether the client may fill so much.
   * @throws STATEFUL_STATE_LIMIT
   */
  check(space: string, client: string, results: Results, limits: StateLimits): void {
    const before = this.of(client)
    let { size, bytes } = before
    for (const [key, entry] of results) {
      const held = this.#holding(key)
      if (held?.client === client) {
        size--
        bytes -= held.bytes
      }
      if (entry) {
        size++
        bytes += entry.bytes
      }
    }
    checkShare('One client', space, before, { size, bytes }, shareOf(limits, limits.userPercent, LEAST))
  }

  /** Most spaces are the application's alone. */
  get #empty(): boolean {
    return this.#holdings.size === 0 && (this.#below === undefined || this.#below.#empty)
  }

  #holding(key: string): Holding | undefined {
    if (this.#holdings.has(key) || !this.#below) return this.#holdings.get(key)
    return this.#below.#holding(key)
  }

  #hold(key: string, entry: { bytes: number } | undefined, client: string | undefined): void {
    const before = this.#holding(key)
    if (before) this.#add(before.client, -1, -before.bytes)
    if (entry && client !== undefined) {
      this.#holdings.set(key, { client, bytes: entry.bytes })
      this.#add(client, 1, entry.bytes)
    } else if (this.#below) {
      // What is below must not be seen through this.
      if (before) this.#holdings.set(key, undefined)
    } else {
      this.#holdings.delete(key)
    }
  }

  #add(client: string, keys: number, bytes: number): void {
    const before = this.of(client)
    const size = before.size + keys
    if (size === 0 && !this.#below) this.#totals.delete(client)
    else this.#totals.set(client, { size, bytes: before.bytes + bytes })
  }
}

/**
 * The rest of a space is the application's: clients who fill theirs keep it from nothing.
 * @throws STATEFUL_STATE_LIMIT
 */
export function checkClients(space: string, before: Sizes, after: Sizes, limits: StateLimits): void {
  checkShare('All clients together', space, before, after, shareOf(limits, limits.clientPercent, NOTHING))
}

function shareOf(limits: StateLimits, percent: number, least: Sizes): Sizes {
  const share = (limit: number) => Math.ceil((limit * percent) / 100)
  return { size: Math.max(share(limits.keys), least.size), bytes: Math.max(share(limits.bytes), least.bytes) }
}

/** Who has more than the share, for it was lowered, may still write what makes it less. */
function checkShare(who: string, space: string, before: Sizes, after: Sizes, most: Sizes): void {
  if (after.size > most.size && after.size > before.size) {
    throw new StateLimitError(`${who} may fill no more than ${most.size} keys of space '${space}'.`)
  }
  if (after.bytes > most.bytes && after.bytes > before.bytes) {
    throw new StateLimitError(`${who} may fill no more than ${most.bytes} bytes of space '${space}'.`)
  }
}

/**
 * What the second level must do. The engine keeps every promise on top of these few atomic steps, so a store
 * needs no knowledge of loads, tags or staleness:
 *
 * - A *namespace* consists of buckets, of one everywhere but on a Redis Cluster, see buckets.ts. Nothing here is about more
 *   than one of them: a parameter `bucket` takes the name of one.
 * - Each bucket has a `Head`: a unique epoch, a sequence number that every mutation raises by one, and the
 *   generation under which its entries are valid. A lost head comes back with a new epoch and a new generation.
 * - A *lease* is the right to fill one key. `invalidate`, `expire` and `put` of that key end it in the same step,
 *   so a fill by a load that began before them is refused.
 * - A *stamp* is the current, unique value of a name (a tag, a declared prefix, or `''`: the generation). An entry
 *   carries the stamps it was made under. A missing stamp is created again and never equals an old one, so
 *   lost metadata is a miss and never a resurrection. It is kept as long as an entry that was made under it, for the
 *   length of a lease that names it, and otherwise for {@link STAMP_LIFE}; that of a generation, as long as its head.
 */
export interface CacheTier {
  readonly kind: 'memory' | 'lmdb' | 'redis'
  /** Whether other processes change the same entries: only then is L1 in need of proof that it is current. */
  readonly shared: boolean
  /** Names of the buckets of a namespace: as many of each, in the order of their numbers, always the same. */
  buckets(namespace: string): readonly string[]
  /** On the monotonic clock: since when it is known to be out of reach. */
  awaySince?(bucket: string): number | undefined
  /** Bytes that the store has sent to this process so far. */
  received?(): number
  /**
   * Milliseconds on the clock of the server that has the bucket; times in records are on it, so that hosts need not
   * agree on theirs.
   */
  now(bucket: string): number

  /** The data of each key, or `undefined`; what has outlived its time to live is not there. */
  get(bucket: string, keys: readonly string[]): Promise<(Uint8Array | undefined)[]>

  /** The current stamp of each name, made if missing. */
  stamps(bucket: string, names: readonly string[]): Promise<Stamps>

  /** Asks for the right to fill one key. */
  lease(bucket: string, request: LeaseRequest): Promise<LeaseAnswer>

  /** Makes the lease last `ms` from now, and the stamps of the names with it; `false` when it is gone. */
  renew(bucket: string, lease: LeaseTerms): Promise<boolean>

  /** Gives the lease back without a value. */
  release(bucket: string, lease: Pick<LeaseTerms, 'key' | 'token'>): Promise<void>

  /** Stores if the lease and all stamps still stand, else changes nothing and answers `undefined`. */
  fill(bucket: string, fill: Fill): Promise<Mutation | undefined>

  /** Stores if all stamps still stand, and ends the leases of the keys; else answers `undefined`. */
  put(bucket: string, entries: readonly Entry[], stamps: readonly Stamp[]): Promise<Mutation | undefined>

  /** Removes, ends leases, renews stamps, tells all instances. Resolves only when the store has confirmed. */
  invalidate(bucket: string, what: Invalidation): Promise<Mutation>

  /** Like `invalidate` of the keys, but their data stays and is marked as stale. */
  expire(bucket: string, keys: readonly string[]): Promise<Mutation>

  /** Whether anything of the bucket is there; asking makes nothing. */
  exists(bucket: string): Promise<boolean>

  /** Reads the head, making it if it is missing. */
  head(bucket: string): Promise<Head>

  /** Every mutation by any instance, this one included, as far as the bus delivers it. */
  subscribe(bucket: string, listener: (message: Message) => void): Promise<() => Promise<void>>

  /** `listener` runs when the store may be another one from now on: a restart, a failover, a lost connection. */
  onInterrupted(listener: () => void): () => void

  /**
   * The keys of a bucket in batches; the order is the store's, one may come twice, or be no longer valid.
   * @param incomplete what happens when the store has lost count of what it has: `'clear'` (default) empties the bucket, so
   * that nothing is there that was not told; `'tell'` tells what is known and changes nothing
   */
  keys(bucket: string, incomplete?: 'clear' | 'tell'): AsyncIterable<string[]>

  close(): Promise<void>
}

/** For how many milliseconds a stamp is kept that nothing has been made under yet. */
export const STAMP_LIFE = 1_000

/** Name of a tag, a declared prefix or the generation, with the value it had. */
export type Stamp = readonly [name: string, value: string]

export interface Stamps {
  epoch: string
  values: string[]
  /** Sequence numbers at which they were renewed; at the latest possible one for a stamp that was missing. */
  since: number[]
}

export interface Head {
  epoch: string
  seq: number
  generation: string
}

export interface LeaseTerms {
  key: string
  /** Whose lease it is: unique. */
  token: string
  /** How long it lasts unless it is renewed. */
  ms: number
  /** Whose stamps the value will be made under: told when the lease is granted, made if missing. Default none. */
  names?: readonly string[] | undefined
}

export interface LeaseRequest extends LeaseTerms {
  /** Version of the data that the caller has seen under the key, `''` for none. */
  seen: string
}

export type LeaseAnswer =
  /** The caller may load; `seq` is the head's at this moment, as are the stamps of the names that it gave. */
  | ({ state: 'granted'; seq: number } & Stamps)
  /** Somebody else loads. */
  | { state: 'busy' }
  /** Somebody else has stored since the caller looked. */
  | { state: 'changed' }

export interface Entry {
  key: string
  /** Begins with the version, see record.ts. */
  data: Uint8Array
  /** Milliseconds until the store forgets it. */
  ttl: number
}

export interface Fill extends Entry {
  token: string
  stamps: readonly Stamp[]
}

export interface Invalidation {
  keys?: readonly string[]
  /** Names whose stamps are renewed; `''` clears the bucket. */
  names?: readonly string[]
  /** Removes every key that matches, in time proportional to the number of entries in the store. */
  pattern?: string
}

/** Epoch of a mutation that will be carried out later: it has no number yet. */
export const DEFERRED = ''

export interface Mutation {
  epoch: string
  seq: number
  /** Number of the first when there were several: more was changed than the store can do in one step. */
  first?: number
  /**
   * How many entries were there and are gone: those that are past their time, or whose stamps have fallen, are not
   * there. Unknown (0) for stamps, whose entries are not counted.
   */
  removed: number
  /** The store could not tell which keys a pattern matches, so everything of the bucket is gone. */
  cleared?: boolean
}

/** What one mutation did, as told to all instances. */
export interface Message {
  epoch: string
  seq: number
  keys?: string[]
  /** The keys were filled by a load: callers that wait for them may look. */
  filled?: boolean
  names?: [name: string, stamp: string][]
  pattern?: string
}

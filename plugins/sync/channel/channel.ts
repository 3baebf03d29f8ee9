import type { Commit, Position } from '../../../openapi/schemas/state.ts'
import type { ByteBudget } from '../../support/client-limits.ts'
import { SharedSequence } from '../../support/shared-sequence.ts'
import type { SyncSettings } from '../options.ts'
import type { SyncCounters } from '../stats.ts'
import type { Frame } from '../transports/frame.ts'
import { FullSync, fullSyncFrames } from './full-sync.ts'
import { type Heard, heardLater, keysOf, Recent } from './recent.ts'
import type { SyncSpace } from './space.ts'
import type { Subscription } from './subscription.ts'
import { type Outgoing, outgoing, Topic, type TopicFilter, topicId } from './topic.ts'

/** Longer ranges are conflated: by then most keys have changed more than once, and only the latest value counts. */
const LONGEST_PLAIN_RANGE = 256

/** Frames of a full sync that a conflated range may be as long as. */
const LARGEST_CONFLATION = 4

/** Why a subscription is caught up: it asked for it, its socket has room again, or a long full sync has been sent. */
type Occasion = 'asked' | 'drained' | 'synced'

export interface ChannelOptions {
  settings: SyncSettings
  counters: SyncCounters
  /** For full syncs that are under way, of all spaces. */
  fullSyncBytes: ByteBudget
  /** A subscription could not be brought up to date. */
  onFailure(subscription: Subscription, error: unknown): void
}

/**
 * One space with its followers on this instance: turns commits into frames and brings subscriptions up to date.
 *
 * Gaps cannot arise because everything that decides what a subscription has seen happens in one tick: what is
 * pending is flushed, the snapshot or range is taken, and the subscription is live, with no await between.
 */
export class Channel {
  readonly space: SyncSpace
  readonly topics = new Map<string, Topic>()
  readonly #settings: SyncSettings
  readonly #counters: SyncCounters
  readonly #onFailure: ChannelOptions['onFailure']
  readonly #recent: Recent
  readonly #fullSyncBytes: ByteBudget
  readonly #afterFlush: (() => void)[] = []
  #epoch = ''
  #revision = 0
  #scheduled: NodeJS.Immediate | undefined
  #detach: (() => void) | undefined
  /** Resolves when it listens to the space. */
  readonly ready: Promise<void>

  constructor(space: SyncSpace, { settings, counters, fullSyncBytes, onFailure }: ChannelOptions) {
    this.space = space
    this.#settings = settings
    this.#counters = counters
    this.#onFailure = onFailure
    this.#fullSyncBytes = fullSyncBytes
    this.#recent = new Recent(settings.recentCommits, settings.recentCharacters)
    this.ready = space.ready.then(() => this.#attach())
  }

  #attach(): void {
    const stopCommits = this.space.onCommit((commit) => this.#heard(commit))
    const stopResets = this.space.onReset(() => this.#reset())
    this.#detach = () => {
      stopCommits()
      stopResets()
    }
    this.#readPosition()
  }

  close(): void {
    this.#detach?.()
    if (this.#scheduled) clearImmediate(this.#scheduled)
    for (const callback of this.#afterFlush.splice(0)) callback()
  }

  // --- commits -------------------------------------------------------------------------------

  #heard(commit: Commit): void {
    if (commit.prev !== this.#revision) {
      // The space promises order; were it ever broken, a full sync is right and a wrong chain never is.
      this.#reset()
      return
    }
    // An epoch may begin without a loss (a failover that kept everything): the chain goes on into it.
    if (commit.epoch !== this.#epoch) this.flush()
    this.#epoch = commit.epoch
    this.#revision = commit.revision
    const heard = this.#recent.add(commit)
    for (const topic of this.topics.values()) {
      this.#outdate(topic)
      const change = this.#changeFor(topic, heard, topic.revision)
      if (!change) continue
      topic.pending.push(change)
      topic.revision = commit.revision
    }
    this.#schedule()
  }

  #changeFor(topic: Topic, { commit, opsText }: Heard, prev: number): Outgoing | undefined {
    const ops = topic.select(commit.ops)
    if (ops.length === 0) return undefined
    const text = ops === commit.ops ? opsText : JSON.stringify(ops)
    return outgoing(prev, commit.revision, text, commit.clientId, commit.seq)
  }

  #schedule(): void {
    // setImmediate rather than a microtask: replies that arrive in one poll of the event loop share a frame.
    this.#scheduled ??= setImmediate(() => this.flush())
  }

  /** Runs `callback` once everything that was committed before now has been sent. */
  afterFlush(callback: () => void): void {
    this.#afterFlush.push(callback)
    this.#schedule()
  }

  /** Sends what is pending, one frame a topic. */
  flush(): void {
    if (this.#scheduled) clearImmediate(this.#scheduled)
    this.#scheduled = undefined
    for (const topic of this.topics.values()) {
      if (topic.pending.length === 0) continue
      const changes = topic.pending
      topic.pending = []
      this.#deliver(topic, changes)
    }
    for (const callback of this.#afterFlush.splice(0)) callback()
  }

  #deliver(topic: Topic, changes: Outgoing[]): void {
    const [first, last] = [changes[0] as Outgoing, changes[changes.length - 1] as Outgoing]
    const sameEpoch = topic.epoch === this.#epoch
    const since = sameEpoch ? undefined : { epoch: topic.epoch, revision: first.prev }
    topic.epoch = this.#epoch
    const frame = topic.stateChange(this.#epoch, changes, since)
    // Shared by all, like the frame: this loop is what a change costs for each of its recipients.
    const position = { epoch: this.#epoch, revision: last.revision }
    let delivered = 0
    for (const subscription of topic.subscriptions) {
      if (subscription.mode !== 'live') continue
      const { connection } = subscription
      if (connection.isFull) {
        this.#hold(subscription, subscription.position)
        continue
      }
      subscription.position = position
      if (topic.whole && sameEpoch && connection.writes.include(changes)) this.#deliverToWriter(subscription, changes)
      else {
        connection.send(frame)
        delivered++
      }
    }
    this.#counters.count('changes', changes.length * delivered)
  }

  /** A writer knows its own changes: in their place in the order it gets their acks. */
  #deliverToWriter({ connection, topic }: Subscription, changes: Outgoing[]): void {
    let others: Outgoing[] = []
    const sendOthers = () => {
      if (others.length === 0) return
      connection.send(topic.stateChange(this.#epoch, others))
      this.#counters.count('changes', others.length)
      others = []
    }
    for (const change of changes) {
      const write = connection.writes.take(change.clientId, change.seq)
      if (!write) {
        others.push(change)
        continue
      }
      sendOthers()
      connection.writes.acknowledge(write, { epoch: this.#epoch, ...change }, change.opsText)
    }
    sendOthers()
  }

  // --- subscriptions -------------------------------------------------------------------------

  topic(filter: TopicFilter): Topic {
    const id = topicId(filter)
    let topic = this.topics.get(id)
    if (!topic) {
      topic = new Topic(this.space.name, filter, { epoch: this.#epoch, revision: this.#revision })
      this.topics.set(id, topic)
    }
    return topic
  }

  remove(subscription: Subscription): void {
    const { topic } = subscription
    subscription.ended = true
    subscription.stop()
    topic.subscriptions.delete(subscription)
    if (topic.subscriptions.size === 0 && this.topics.get(topic.id) === topic) this.topics.delete(topic.id)
  }

  /** The socket has room again: goes on where it stopped. */
  drained(subscription: Subscription): void {
    if (!subscription.sending && subscription.mode !== 'lagging') return
    const going = subscription.sending
      ? this.#pump(subscription)
      : this.#catchUp(subscription, subscription.position, 'drained')
    going.catch((error: unknown) => this.#onFailure(subscription, error))
  }

  /** Makes a subscription live: continues it from `since` where that is possible, by a full sync otherwise. */
  catchUp(subscription: Subscription, since: Position | undefined): void {
    this.#catchUp(subscription, since, 'asked').catch((error: unknown) => this.#onFailure(subscription, error))
  }

  async #catchUp(subscription: Subscription, since: Position | undefined, occasion: Occasion): Promise<void> {
    const attempt = ++subscription.attempt
    subscription.stop()
    if (subscription.connection.isFull) return this.#hold(subscription, since)
    subscription.mode = 'catching'
    this.#bringToPresent(subscription.topic)
    if (!since) return this.#sendFullSync(subscription)
    const remembered = this.#remembered(since)
    if (remembered) return this.#sendRange(subscription, since, remembered, occasion)

    const commits = await this.space.history(since).catch(() => undefined)
    if (subscription.ended || subscription.attempt !== attempt) return
    this.#bringToPresent(subscription.topic)
    const range = commits && this.#joined(since, commits)
    if (range) this.#sendRange(subscription, since, range, occasion)
    else await this.#sendFullSync(subscription)
  }

  /** Sends what is pending, and leads the followers of a topic that did not change since into the present epoch. */
  #bringToPresent(topic: Topic): void {
    this.flush()
    if (topic.epoch !== this.#epoch) this.#advance(topic)
  }

  /** The socket is full: nothing is queued, and when it drains the subscription is caught up from `position`. */
  #hold(subscription: Subscription, position: Position | undefined): void {
    if (subscription.log && position) {
      // It must not miss a revision, and nothing is queued: the client comes back with the token when it can.
      subscription.connection.end(1013, `${position.epoch}.${position.revision}`)
      return
    }
    subscription.mode = 'lagging'
    subscription.position = position
    subscription.waitingSince ??= this.#settings.clock.monotonic()
  }

  #remembered(since: Position): Heard[] | undefined {
    if (since.epoch !== this.#epoch || since.revision > this.#revision) return undefined
    return since.revision === this.#revision ? [] : this.#recent.since(since.revision)
  }

  /** History from the log, then what this channel heard since; `undefined` when the two do not meet. */
  #joined(since: Position, commits: Commit[]): Heard[] | undefined {
    const end = commits[commits.length - 1]?.revision ?? since.revision
    const rest = end === this.#revision ? [] : this.#recent.since(end)
    return rest && [...commits.map(heardLater), ...rest]
  }

  #sendRange(subscription: Subscription, since: Position, range: Heard[], occasion: Occasion): void {
    const { topic } = subscription
    if (topic.revision < since.revision) this.#advance(topic)
    const plain = subscription.log || (occasion !== 'drained' && range.length <= LONGEST_PLAIN_RANGE)
    const changes = plain ? this.#changesIn(topic, since.revision, range) : this.#conflated(topic, since, range)
    if (!changes) {
      this.#sendFullSync(subscription).catch((error: unknown) => this.#onFailure(subscription, error))
      return
    }
    if (occasion !== 'synced') this.#counters.count(occasion === 'drained' ? 'conflations' : 'resumes')
    const position = { epoch: this.#epoch, revision: topic.revision }
    const frames = new SharedSequence(this.#rangeFrames(topic, changes, since))
    const first = frames.at(0) as Frame
    if (frames.at(1) === undefined) {
      this.#goLive(subscription, first)
      return
    }
    subscription.begin({ frames, position, enter() {}, leave() {} })
    this.#pump(subscription).catch((error: unknown) => this.#onFailure(subscription, error))
  }

  /** The changes of a topic in a range, one after the other, up to the end of this instance's chain. */
  *#changesIn(topic: Topic, since: number, range: Heard[]): Generator<Outgoing> {
    const end = topic.revision
    let prev = since
    for (const heard of range) {
      const change = this.#changeFor(topic, heard, prev)
      if (!change) continue
      yield change
      prev = change.revision
    }
    // The client may be after the last change of its topic.
    if (prev < end) yield outgoing(prev, end, '[]')
  }

  /** The same as one change; `undefined` when a full sync is the better answer. */
  #conflated(topic: Topic, since: Position, range: Heard[]): Outgoing[] | undefined {
    const end = topic.revision
    const texts: string[] = []
    let characters = 0
    for (const key of keysOf(range)) {
      if (!topic.matches(key)) continue
      const value = this.space.get(key)
      const text = JSON.stringify(value === undefined ? { op: 'delete', key } : { op: 'set', key, value })
      characters += text.length
      // It is one frame of one reader, which nobody shares.
      if (characters > LARGEST_CONFLATION * this.#settings.chunkCharacters && texts.length > 0) return undefined
      texts.push(text)
    }
    return since.revision < end ? [outgoing(since.revision, end, `[${texts.join(',')}]`)] : []
  }

  *#rangeFrames(topic: Topic, changes: Iterable<Outgoing>, since: Position): Generator<Frame> {
    const epoch = this.#epoch
    let some: Outgoing[] = []
    let characters = 0
    let from: Position | undefined = since
    for (const change of changes) {
      if (some.length > 0 && characters + change.text.length > this.#settings.chunkCharacters) {
        yield topic.stateChange(epoch, some, from)
        from = undefined
        some = []
        characters = 0
      }
      some.push(change)
      characters += change.text.length
      this.#counters.count('changes')
    }
    yield topic.stateChange(epoch, some, from)
  }

  /** Moves the chain of a topic to the present without a change, for a client that is ahead of it. */
  #advance(topic: Topic): void {
    topic.pending.push(outgoing(topic.revision, this.#revision, '[]'))
    topic.revision = this.#revision
    this.#outdate(topic)
    this.flush()
  }

  async #sendFullSync(subscription: Subscription): Promise<void> {
    if (subscription.connection.isFull) return this.#hold(subscription, undefined)
    const fullSync = this.#fullSyncFor(subscription)
    this.#counters.count('fullSyncs')
    if (fullSync.short) return this.#goLive(subscription, fullSync.frames.at(0) as Frame)
    subscription.begin(fullSync)
    await this.#pump(subscription)
  }

  /** @throws STATEFUL_TOO_MANY_AT_ONCE, STATEFUL_OVERLOADED */
  #fullSyncFor({ topic, connection }: Subscription): FullSync {
    const known = topic.fullSync
    if (known?.position.epoch === this.#epoch && known.position.revision === topic.revision) return known
    const position = { epoch: this.#epoch, revision: topic.revision }
    const all = Object.entries(this.space.snapshot().state)
    const entries = topic.whole ? all : all.filter(([key]) => topic.matches(key))
    const bytes = Math.ceil((this.space.bytes * entries.length) / Math.max(all.length, 1))
    let release = () => {}
    if (bytes > this.#settings.chunkCharacters) {
      try {
        release = this.#fullSyncBytes.take(connection.identity, bytes)
      } catch (error) {
        // Too many different ones are under way: an older one, and then what came after it, leads to the same.
        if (known && known.readers > 0 && known.position.epoch === this.#epoch) return known
        throw error
      }
    }
    const frames = fullSyncFrames(topic.head, position, entries, this.#settings.chunkCharacters)
    const fullSync: FullSync = new FullSync(frames, position, () => {
      release()
      if (topic.fullSync === fullSync) topic.fullSync = undefined
    })
    topic.fullSync = fullSync
    return fullSync
  }

  /** Its content has changed: kept only for those who are amid it, and who may come while there is no room for more. */
  #outdate(topic: Topic): void {
    if (topic.fullSync?.readers === 0) topic.fullSync = undefined
  }

  /** Sends a long answer as fast as the peer takes it, then what was committed meanwhile. */
  async #pump(subscription: Subscription): Promise<void> {
    const { connection } = subscription
    for (;;) {
      if (connection.isFull) {
        subscription.waitingSince = this.#settings.clock.monotonic()
        return
      }
      const frame = subscription.nextFrame()
      if (!frame) break
      connection.send(frame)
    }
    await this.#catchUp(subscription, subscription.stop(), 'synced')
  }

  #goLive(subscription: Subscription, frame: Frame): void {
    const { topic, connection } = subscription
    subscription.mode = 'live'
    subscription.waitingSince = undefined
    subscription.position = { epoch: this.#epoch, revision: topic.revision }
    connection.send(frame)
    connection.writes.release(this.space.name)
  }

  // --- resets --------------------------------------------------------------------------------

  #readPosition(): void {
    this.#epoch = this.space.epoch
    this.#revision = this.space.revision
  }

  #reset(): void {
    this.#recent.clear()
    this.#readPosition()
    for (const topic of this.topics.values()) {
      topic.pending = []
      topic.fullSync = undefined
      topic.epoch = this.#epoch
      topic.revision = this.#revision
      for (const subscription of topic.subscriptions) {
        subscription.attempt++
        subscription.stop()
        subscription.position = undefined
        // One that lags already keeps its deadline.
        if (subscription.mode === 'lagging') continue
        subscription.mode = 'catching'
        this.#sendFullSync(subscription).catch((error: unknown) => this.#onFailure(subscription, error))
      }
    }
  }

  /** How far a subscription is behind, in revisions. */
  lagOf({ position, topic, mode }: Subscription): number {
    if (mode === 'live') return 0
    return position?.epoch === this.#epoch ? Math.max(topic.revision - position.revision, 0) : this.#revision
  }
}

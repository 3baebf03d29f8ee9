import type { Commit, Position } from '../../../openapi/schemas/state.ts'
import type { ByteBudget } from '../../support/client-limits.ts'
import { SharedSequence } from '../../support/shared-sequence.ts'
import { type SyncFanOutEvent, syncFanOut } from '../../support/tracing.ts'
import type { SyncSettings } from '../options.ts'
import type { SyncCounters } from '../stats.ts'
import type { Frame } from '../transports/frame.ts'
import { type TopicFilter, topicId } from './filter.ts'
import { FullSyncs } from './full-sync.ts'
import { changeFor, changesIn, conflated, rangeFrames } from './range.ts'
import { type Heard, heardLater, Recent } from './recent.ts'
import type { SyncSpace } from './space.ts'
import { type Outgoing, outgoing, type Subscription, Topic } from './topic.ts'

/** Longer ranges are conflated: by then most keys have changed more than once, and only the latest value counts. */
const LONGEST_PLAIN_RANGE = 256

/** Frames of a full sync that a conflated range may be as long as. Beyond that a full sync, which others share, is better. */
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
 *
 *     epoch `e`, revision 7 heard and not sent yet; A is live at 6, B asks for what came after 4
 *     flush     A gets 6→7, and everybody who is live is at 7
 *     range     B gets `since: { epoch: 'e', revision: 4 }` with 4→5, 5→6, 6→7
 *     live      B is at 7 too: the next change, 7→8, is one frame for both
 *
 * A commit is *heard* at once (the chains of the topics grow, `#revision` rises) and *sent* by the flush at the end of
 * the tick; `#scheduled` is that flush. When the space was replaced (`#reset`), nothing that was pending or remembered
 * counts any more: everybody gets a full sync of the present.
 */
export class Channel {
  readonly space: SyncSpace
  readonly topics = new Map<string, Topic>()
  readonly #settings: SyncSettings
  readonly #counters: SyncCounters
  readonly #onFailure: ChannelOptions['onFailure']
  readonly #recent: Recent
  readonly #fullSyncs: FullSyncs
  readonly #afterFlush: (() => void)[] = []
  /** Those of the whole space and of prefixes: each commit is compared with them. Those of keys are found by name. */
  readonly #wide = new Set<Topic>()
  /** Those with changes that are not sent yet. */
  readonly #changed = new Set<Topic>()
  #epoch = ''
  #revision = 0
  #scheduled: NodeJS.Immediate | undefined
  #detach: (() => void) | undefined
  #closed = false
  /** Resolves when it listens to the space. */
  readonly ready: Promise<void>

  constructor(space: SyncSpace, { settings, counters, fullSyncBytes, onFailure }: ChannelOptions) {
    this.space = space
    this.#settings = settings
    this.#counters = counters
    this.#onFailure = onFailure
    this.#fullSyncs = new FullSyncs(space, settings.chunkCharacters, fullSyncBytes)
    this.#recent = new Recent(settings.recentCommits, settings.recentCharacters)
    this.ready = space.ready.then(() => this.#attach())
  }

  #attach(): void {
    if (this.#closed) return
    const stopCommits = this.space.onCommit((commit) => this.#heard(commit))
    const stopResets = this.space.onReset(() => this.#reset())
    this.#detach = () => {
      stopCommits()
      stopResets()
    }
    this.#readPosition()
  }

  close(): void {
    this.#closed = true
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
    this.#fullSyncs.outdate()
    for (const topic of this.#wide) this.#change(topic, heard)
    if (this.topics.size > this.#wide.size) {
      for (const { key } of commit.ops) {
        const topic = this.topics.get(topicId({ key }))
        // Two operations of one key are one change.
        if (topic && topic.revision !== commit.revision) this.#change(topic, heard)
      }
    }
    this.#schedule()
  }

  #change(topic: Topic, heard: Heard): void {
    const change = changeFor(topic, heard, topic.revision)
    if (!change) return
    topic.pending.push(change)
    topic.revision = change.revision
    this.#changed.add(topic)
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
    for (const topic of this.#changed) {
      this.#changed.delete(topic)
      const changes = topic.pending
      topic.pending = []
      this.#deliver(topic, changes)
    }
    for (const callback of this.#afterFlush.splice(0)) callback()
  }

  #deliver(topic: Topic, changes: Outgoing[]): void {
    if (!syncFanOut.hasSubscribers) {
      this.#fanOut(topic, changes)
      return
    }
    const [first, last] = [changes[0] as Outgoing, changes[changes.length - 1] as Outgoing]
    const event: SyncFanOutEvent = {
      space: topic.space,
      epoch: this.#epoch,
      from: first.revision,
      to: last.revision,
      changes: changes.length,
    }
    syncFanOut.traceSync(event, () => {
      event.recipients = this.#fanOut(topic, changes)
    })
  }

  /** @returns how many connections were sent something */
  #fanOut(topic: Topic, changes: Outgoing[]): number {
    const [first, last] = [changes[0] as Outgoing, changes[changes.length - 1] as Outgoing]
    const sameEpoch = topic.epoch === this.#epoch
    const since = sameEpoch ? undefined : { epoch: topic.epoch, revision: first.prev }
    topic.epoch = this.#epoch
    const frame = topic.stateChange(this.#epoch, changes, since)
    // Shared by all, like the frame: this loop is what a change costs for each of its recipients.
    const position = { epoch: this.#epoch, revision: last.revision }
    let delivered = 0
    let writers = 0
    for (const subscription of topic.subscriptions) {
      if (subscription.mode !== 'live') continue
      const { connection } = subscription
      if (connection.isFull) {
        this.#hold(subscription, subscription.position)
        continue
      }
      subscription.position = position
      if (topic.whole && sameEpoch && connection.writes.include(changes)) {
        this.#deliverToWriter(subscription, changes)
        writers++
      } else {
        connection.send(frame)
        delivered++
      }
    }
    this.#counters.count('changes', changes.length * delivered)
    return delivered + writers
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
      if (!connection.writes.include([change])) {
        others.push(change)
        continue
      }
      sendOthers()
      connection.writes.acknowledge(change, this.#epoch)
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
      if (filter.key === undefined) this.#wide.add(topic)
    }
    return topic
  }

  remove(subscription: Subscription): void {
    const { topic } = subscription
    subscription.ended = true
    subscription.stop()
    topic.subscriptions.delete(subscription)
    if (topic.subscriptions.size > 0 || this.topics.get(topic.id) !== topic) return
    this.topics.delete(topic.id)
    this.#wide.delete(topic)
    this.#changed.delete(topic)
    this.#fullSyncs.forget(topic)
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
    const { chunkCharacters } = this.#settings
    if (topic.revision < since.revision) this.#advance(topic)
    const plain = subscription.log || (occasion !== 'drained' && range.length <= LONGEST_PLAIN_RANGE)
    const changes = plain
      ? changesIn(topic, since.revision, range)
      : conflated(topic, since.revision, range, (key) => this.space.get(key), LARGEST_CONFLATION * chunkCharacters)
    if (!changes) {
      this.#sendFullSync(subscription).catch((error: unknown) => this.#onFailure(subscription, error))
      return
    }
    if (occasion !== 'synced') this.#counters.count(occasion === 'drained' ? 'conflations' : 'resumes')
    const position = { epoch: this.#epoch, revision: topic.revision }
    const frames = new SharedSequence(
      rangeFrames(topic, changes, since, this.#epoch, chunkCharacters, () => this.#counters.count('changes')),
    )
    const first = frames.at(0) as Frame
    if (frames.at(1) === undefined) {
      this.#goLive(subscription, first)
      return
    }
    subscription.begin({ frames, position, enter() {}, leave() {} })
    this.#pump(subscription).catch((error: unknown) => this.#onFailure(subscription, error))
  }

  /** Moves the chain of a topic to the present without a change, for a client that is ahead of it. */
  #advance(topic: Topic): void {
    topic.pending.push(outgoing(topic.revision, this.#revision, '[]'))
    topic.revision = this.#revision
    this.#changed.add(topic)
    this.flush()
  }

  async #sendFullSync(subscription: Subscription): Promise<void> {
    if (subscription.connection.isFull) return this.#hold(subscription, undefined)
    const { topic, connection } = subscription
    const position = { epoch: this.#epoch, revision: topic.revision }
    const fullSync = this.#fullSyncs.of(topic, position, connection.identity)
    this.#counters.count('fullSyncs')
    if (fullSync.short) return this.#goLive(subscription, fullSync.frames.at(0) as Frame)
    subscription.begin(fullSync)
    await this.#pump(subscription)
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
    this.#changed.clear()
    this.#fullSyncs.clear()
    this.#readPosition()
    for (const topic of this.topics.values()) {
      topic.pending = []
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

import type { Commit, Op, Position } from '../../openapi/schemas/state.ts'
import { Frame } from './frame.ts'
import { conflate, type Heard, Recent } from './recent.ts'
import type { SyncSettings } from './settings.ts'
import type { SyncSpace } from './space.ts'
import type { Subscription } from './subscription.ts'
import type { SyncCounters } from './sync-stats.ts'
import { type Outgoing, outgoing, Topic, type TopicFilter, topicId } from './topic.ts'

/** Longer ranges are conflated: by then most keys have changed more than once, and only the latest value counts. */
const LONGEST_PLAIN_RANGE = 256

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
  readonly #recent: Recent
  readonly #afterFlush: (() => void)[] = []
  #epoch = ''
  #revision = 0
  #scheduled: NodeJS.Immediate | undefined
  #detach: (() => void) | undefined
  /** Resolves when it listens to the space. */
  readonly ready: Promise<void>

  constructor(space: SyncSpace, settings: SyncSettings, counters: SyncCounters) {
    this.space = space
    this.#settings = settings
    this.#counters = counters
    this.#recent = new Recent(settings.recentCommits, settings.recentCharacters)
    this.ready = space.ready.then(() => this.#attach())
  }

  get position(): Position {
    return { epoch: this.#epoch, revision: this.#revision }
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
  }

  // --- commits -------------------------------------------------------------------------------

  #heard(commit: Commit): void {
    if (commit.epoch !== this.#epoch || commit.prev !== this.#revision) {
      // The space promises order; were it ever broken, a full sync is right and a wrong chain never is.
      this.#reset()
      return
    }
    this.#revision = commit.revision
    const heard = this.#recent.add(commit)
    for (const topic of this.topics.values()) {
      topic.fullSync = undefined
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
    const frame = this.#stateChange(topic, changes)
    const revision = (changes[changes.length - 1] as Outgoing).revision
    for (const subscription of topic.subscriptions) {
      if (subscription.mode !== 'live') continue
      const { connection } = subscription
      if (connection.isFull) {
        this.#hold(subscription, subscription.position)
        continue
      }
      subscription.position = { epoch: this.#epoch, revision }
      if (topic.whole && connection.wrote(changes)) this.#deliverToWriter(subscription, changes)
      else {
        connection.send(frame)
        this.#counters.count('changes', changes.length)
      }
    }
  }

  /** A writer knows its own changes: in their place in the order it gets their acks. */
  #deliverToWriter({ connection, topic }: Subscription, changes: Outgoing[]): void {
    let others: Outgoing[] = []
    const sendOthers = () => {
      if (others.length === 0) return
      connection.send(this.#stateChange(topic, others))
      this.#counters.count('changes', others.length)
      others = []
    }
    for (const change of changes) {
      const write = connection.takeWrite(change.clientId, change.seq)
      if (!write) {
        others.push(change)
        continue
      }
      sendOthers()
      connection.acknowledge(write, { epoch: this.#epoch, ...change }, change.opsText)
    }
    sendOthers()
  }

  #stateChange(topic: Topic, changes: Outgoing[], since?: Position): Frame {
    const last = changes[changes.length - 1]
    const epoch = JSON.stringify(this.#epoch)
    return new Frame(
      `{"type":"stateChange",${topic.head}"epoch":${epoch},${since ? `"since":${JSON.stringify(since)},` : ''}"changes":[${changes.map(({ text }) => text).join(',')}]}`,
      `${this.#epoch}.${last?.revision ?? topic.revision}`,
    )
  }

  // --- subscriptions -------------------------------------------------------------------------

  topic(filter: TopicFilter): Topic {
    const id = topicId(filter)
    let topic = this.topics.get(id)
    if (!topic) {
      topic = new Topic(this.space.name, filter, this.#revision)
      this.topics.set(id, topic)
    }
    return topic
  }

  remove(subscription: Subscription): void {
    const { topic } = subscription
    subscription.ended = true
    topic.subscriptions.delete(subscription)
    if (topic.subscriptions.size === 0 && this.topics.get(topic.id) === topic) this.topics.delete(topic.id)
  }

  /**
   * Makes a subscription live: continues it from `since` where that is possible, by a full sync otherwise.
   * @param conflated one change with the latest values, rather than each revision
   */
  async catchUp(subscription: Subscription, since: Position | undefined, conflated = false): Promise<void> {
    const attempt = ++subscription.attempt
    if (subscription.connection.isFull) return this.#hold(subscription, since)
    subscription.mode = 'catching'
    this.flush()
    if (!since) return this.#sendFullSync(subscription)
    const remembered = this.#remembered(since)
    if (remembered) return this.#sendRange(subscription, since, remembered, conflated)

    const commits = await this.space.history(since).catch(() => undefined)
    if (subscription.ended || subscription.attempt !== attempt) return
    this.flush()
    const range = commits && this.#joined(since, commits)
    if (range) this.#sendRange(subscription, since, range, conflated)
    else this.#sendFullSync(subscription)
  }

  /** The socket is full: nothing is queued, and when it drains the subscription is caught up from `position`. */
  #hold(subscription: Subscription, position: Position | undefined): void {
    subscription.mode = 'lagging'
    subscription.position = position
    subscription.laggingSince = this.#settings.clock.monotonic()
  }

  #remembered(since: Position): Heard[] | undefined {
    if (since.epoch !== this.#epoch || since.revision > this.#revision) return undefined
    return since.revision === this.#revision ? [] : this.#recent.since(since.revision)
  }

  /** History from the log, then what this channel heard since; `undefined` when the two do not meet. */
  #joined(since: Position, commits: Commit[]): Heard[] | undefined {
    // The log may be ahead of this replica; those commits arrive as changes in a moment.
    const known = commits.filter(({ epoch, revision }) => epoch !== this.#epoch || revision <= this.#revision)
    const end = known[known.length - 1]?.revision ?? since.revision
    const rest = end === this.#revision ? [] : this.#recent.since(end)
    return rest && [...known.map((commit) => ({ commit, opsText: JSON.stringify(commit.ops) })), ...rest]
  }

  #sendRange(subscription: Subscription, since: Position, range: Heard[], conflated: boolean): void {
    const { topic } = subscription
    if (topic.revision < since.revision) this.#advance(topic)
    const changes: Outgoing[] = []
    let prev = since.revision
    if (conflated || range.length > LONGEST_PLAIN_RANGE) {
      const ops: Op[] = conflate(range, this.space.snapshot().state, (key) => topic.matches(key))
      if (ops.length > 0) changes.push(outgoing(prev, topic.revision, JSON.stringify(ops)))
      if (ops.length > 0) prev = topic.revision
    } else {
      for (const heard of range) {
        const change = this.#changeFor(topic, heard, prev)
        if (!change) continue
        changes.push(change)
        prev = change.revision
      }
    }
    // Brings the client to the end of this instance's chain, which may lie after the last change of its own.
    if (prev < topic.revision) changes.push(outgoing(prev, topic.revision, '[]'))
    this.#counters.count(conflated ? 'conflations' : 'resumes')
    this.#counters.count('changes', changes.length)
    this.#goLive(subscription, this.#stateChange(topic, changes, since))
  }

  /** Moves the chain of a topic to the present without a change, for a client that is ahead of it. */
  #advance(topic: Topic): void {
    topic.pending.push(outgoing(topic.revision, this.#revision, '[]'))
    topic.revision = this.#revision
    topic.fullSync = undefined
    this.flush()
  }

  #sendFullSync(subscription: Subscription): void {
    const { topic } = subscription
    if (subscription.connection.isFull) {
      this.#hold(subscription, undefined)
      return
    }
    topic.fullSync ??= new Frame(
      `{"type":"fullSync",${topic.head}"epoch":${JSON.stringify(this.#epoch)},"revision":${topic.revision},"state":${JSON.stringify(topic.selectState(this.space.snapshot().state))}}`,
      `${this.#epoch}.${topic.revision}`,
    )
    this.#counters.count('fullSyncs')
    this.#goLive(subscription, topic.fullSync)
  }

  #goLive(subscription: Subscription, frame: Frame): void {
    subscription.mode = 'live'
    subscription.position = { epoch: this.#epoch, revision: subscription.topic.revision }
    subscription.connection.send(frame)
    subscription.connection.caughtUp(this.space.name)
  }

  // --- resets --------------------------------------------------------------------------------

  #readPosition(): void {
    const { epoch, revision } = this.space.snapshot()
    this.#epoch = epoch
    this.#revision = revision
  }

  #reset(): void {
    this.#recent.clear()
    this.#readPosition()
    for (const topic of this.topics.values()) {
      topic.pending = []
      topic.fullSync = undefined
      topic.revision = this.#revision
      for (const subscription of topic.subscriptions) {
        subscription.attempt++
        subscription.position = undefined
        // One that lags already keeps its deadline.
        if (subscription.mode === 'lagging') continue
        this.#sendFullSync(subscription)
      }
    }
  }

  /** How far a subscription is behind, in revisions. */
  lagOf({ position, topic, mode }: Subscription): number {
    if (mode === 'live') return 0
    return position?.epoch === this.#epoch ? Math.max(topic.revision - position.revision, 0) : this.#revision
  }
}

import type { Position } from '../../../openapi/schemas/state.ts'
import { ByteBudget, type Client, ClientLimits } from '../../support/client-limits.ts'
import { TooManySubscriptionsError } from '../../support/errors.ts'
import type { SyncSettings } from '../options.ts'
import type { SyncCounters } from '../stats.ts'
import { Channel } from './channel.ts'
import { subscriptionId, type TopicFilter } from './filter.ts'
import type { BorrowedSyncSpace, SyncSpace } from './space.ts'
import { type Recipient, Subscription } from './topic.ts'

/** What a subscription is to follow, and from where. */
export interface SubscriptionRequest {
  space: string
  filter: TopicFilter
  since?: Position | undefined
  /** Every revision, never conflated. */
  log?: boolean
}

/** A connection, as one that follows parts of spaces. */
export interface Follower extends Recipient {
  readonly ended: boolean
  /** By {@link subscriptionId}. */
  readonly subscriptions: Map<string, Subscription>
}

export interface ChannelsOptions<F extends Follower> {
  settings: SyncSettings
  counters: SyncCounters
  /** Opens a space by name. @throws what it thinks of the name, and when the client has opened too many */
  space(name: string, client: Client): BorrowedSyncSpace
  /** A connection follows something of a space. */
  onFollow(follower: F, space: string): void
  /** It follows nothing of it any more. */
  onLeave(follower: F, space: string): void
  onError(error: unknown, what: string): void
}

/** The spaces that are followed on this instance: a channel each, from the first subscription to the last. */
export class Channels<F extends Follower> {
  readonly #options: ChannelsOptions<F>
  readonly #channels = new Map<string, Channel>()
  readonly #subscriptions: ClientLimits
  readonly #fullSyncBytes: ByteBudget

  constructor(options: ChannelsOptions<F>) {
    this.#options = options
    const { maxSubscriptionsPerUser, maxSubscriptionsPerSession, fullSyncBytes } = options.settings
    this.#fullSyncBytes = new ByteBudget(fullSyncBytes)
    this.#subscriptions = new ClientLimits('subscriptions', {
      total: Number.POSITIVE_INFINITY,
      perUser: maxSubscriptionsPerUser,
      perSession: maxSubscriptionsPerSession,
    })
  }

  get spaces(): number {
    return this.#channels.size
  }

  get topics(): number {
    let topics = 0
    for (const channel of this.#channels.values()) topics += channel.topics.size
    return topics
  }

  /** @throws STATEFUL_TOO_MANY_SUBSCRIPTIONS, and whatever opening the space throws */
  async subscribe(follower: F, request: SubscriptionRequest): Promise<void> {
    const { maxSubscriptions } = this.#options.settings
    const known = follower.subscriptions.get(subscriptionId(request.space, request.filter))
    if (!known && follower.subscriptions.size >= maxSubscriptions) {
      throw new TooManySubscriptionsError(maxSubscriptions)
    }
    // One that takes the place of another is counted before that is given back.
    const same = known !== undefined && known.log === (request.log ?? false)
    const uncount = same ? () => {} : this.#subscriptions.take(follower.identity)
    let release = uncount
    try {
      const { space, release: giveBack } = this.#options.space(request.space, follower.identity)
      release = () => {
        giveBack()
        uncount()
      }
      const channel = await this.#open(space)
      if (follower.ended || !this.#follow(follower, channel, request, release)) release()
      this.#closeIfUnused(channel)
    } catch (error) {
      release()
      throw error
    }
  }

  /** @returns whether there is a new subscription, which holds its space */
  #follow(
    follower: F,
    channel: Channel,
    { space, filter, since, log = false }: SubscriptionRequest,
    release: () => void,
  ): boolean {
    const id = subscriptionId(space, filter)
    const known = follower.subscriptions.get(id)
    if (known && known.log === log) {
      channel.catchUp(known, since)
      return false
    }
    const subscription = new Subscription(follower, channel.topic(filter), log, release)
    subscription.topic.subscriptions.add(subscription)
    if (known) {
      channel.remove(known)
      known.release()
    }
    follower.subscriptions.set(id, subscription)
    this.#options.onFollow(follower, space)
    channel.catchUp(subscription, since)
    return true
  }

  /** @param subscription one of the follower's */
  unsubscribe(follower: F, subscription: Subscription): void {
    const { space, filter, whole } = subscription.topic
    follower.subscriptions.delete(subscriptionId(space, filter))
    if (whole) follower.writes.release(space)
    const follows = [...follower.subscriptions.values()].some((other) => other.topic.space === space)
    if (!follows) this.#options.onLeave(follower, space)
    const channel = this.#channels.get(space)
    channel?.remove(subscription)
    if (channel) this.#closeIfUnused(channel)
    subscription.release()
  }

  /** Makes a subscription live: continues it from `since` where that is possible, by a full sync otherwise. */
  catchUp(subscription: Subscription, since: Position | undefined): void {
    this.#channels.get(subscription.topic.space)?.catchUp(subscription, since)
  }

  /** The socket of a subscription has room again. */
  drained(subscription: Subscription): void {
    this.#channels.get(subscription.topic.space)?.drained(subscription)
  }

  /** How far a subscription is behind, in revisions. */
  lagOf(subscription: Subscription): number {
    return this.#channels.get(subscription.topic.space)?.lagOf(subscription) ?? 0
  }

  /** Resolves when all that was committed to a space before now has been sent to its followers. */
  async flushed(space: string): Promise<void> {
    const channel = this.#channels.get(space)
    if (channel) await new Promise<void>((resolve) => channel.afterFlush(resolve))
  }

  close(): void {
    for (const channel of this.#channels.values()) channel.close()
    this.#channels.clear()
  }

  /** @param space borrowed by the caller, so that it is the one that is open */
  async #open(space: SyncSpace): Promise<Channel> {
    const { name } = space
    let channel = this.#channels.get(name)
    if (!channel) {
      const { settings, counters } = this.#options
      channel = new Channel(space, {
        settings,
        counters,
        fullSyncBytes: this.#fullSyncBytes,
        onFailure: ({ connection }, error) => this.#failed(connection, error),
      })
      this.#channels.set(name, channel)
    }
    try {
      await channel.ready
    } catch (error) {
      if (this.#channels.get(name) === channel) this.#channels.delete(name)
      throw error
    }
    // It may have been closed as unused while this waited.
    return this.#channels.get(name) === channel ? channel : this.#open(space)
  }

  #failed(connection: Recipient, error: unknown): void {
    const { statusCode } = error as { statusCode?: number }
    if (statusCode === 429 || statusCode === 503) {
      connection.end(1013, 'too many full syncs under way')
      return
    }
    this.#options.onError(error, 'a subscription could not be brought up to date')
    connection.end(1011, 'internal error')
  }

  #closeIfUnused(channel: Channel): void {
    if (channel.topics.size > 0) return
    channel.close()
    if (this.#channels.get(channel.space.name) === channel) this.#channels.delete(channel.space.name)
  }
}

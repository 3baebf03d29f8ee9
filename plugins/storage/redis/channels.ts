import type { Redis } from 'ioredis'
import { type Clock, systemClock, type Timer } from '../../support/clock.ts'
import { HEARTBEAT_INTERVAL, type RedisConnection } from './connection.ts'

type Listener = (message: string) => void

/** An object of its own per call: two services may well pass the same function. */
interface Subscription {
  listener: Listener
}

/**
 * Pub/sub on one connection, shared by all services. Redis promises no delivery: whoever listens must be able
 * to find out what it missed (a sequence number, a head to poll) and is told by `onLost` when messages
 * may have gone by unheard.
 */
export class RedisChannels {
  readonly #subscriber: Redis
  readonly #publisher: RedisConnection
  readonly #listeners = new Map<string, Set<Subscription>>()
  readonly #heartbeat: Timer
  readonly #lost = new Set<() => void>()
  readonly #back = new Set<() => void>()
  #closed = false

  constructor(subscriber: Redis, publisher: RedisConnection, clock: Clock = systemClock) {
    this.#subscriber = subscriber
    this.#publisher = publisher
    subscriber.on('message', (channel: string, message: string) => {
      for (const { listener } of this.#listeners.get(channel) ?? []) {
        try {
          listener(message)
        } catch {
          // What its listener cannot read is as good as lost; thrown here it would end the process.
        }
      }
    })
    subscriber.on('close', () => {
      for (const listener of this.#lost) listener()
    })
    subscriber.on('ready', () => this.#resubscribe())
    // It only listens, so nothing else would ever find out that the other side is gone (see `socketTimeout`).
    this.#heartbeat = clock.every(HEARTBEAT_INTERVAL, () => {
      if (subscriber.status === 'ready') subscriber.ping().catch(() => {})
    })
  }

  /** Ends the heartbeat; the connections belong to whoever opened them. */
  close(): void {
    this.#closed = true
    this.#heartbeat.cancel()
  }

  /**
   * Resolves when the subscription stands; the returned function ends it. When it rejects, `listener` will not be
   * called.
   */
  async subscribe(channel: string, listener: Listener): Promise<() => Promise<void>> {
    const subscription: Subscription = { listener }
    const subscriptions = this.#listeners.get(channel) ?? new Set()
    this.#listeners.set(channel, subscriptions)
    subscriptions.add(subscription)
    const forget = () => {
      if (!subscriptions.delete(subscription) || subscriptions.size > 0) return false
      return this.#listeners.delete(channel)
    }
    try {
      // Asking again for a standing subscription is harmless, and awaiting it covers a concurrent first subscriber.
      await this.#subscriber.subscribe(channel)
    } catch (error) {
      forget()
      throw error
    }
    return async () => {
      if (forget()) await this.#unsubscribe(channel)
    }
  }

  /** Resolves to the number of connections that the server delivered to; the other nodes of a Cluster do not tell. */
  publish(channel: string, message: string): Promise<number> {
    return this.#publisher.publish(channel, message)
  }

  /** `listener` runs each time the connection drops: from then until it is back, messages are lost. */
  onLost(listener: () => void): () => void {
    this.#lost.add(listener)
    return () => this.#lost.delete(listener)
  }

  /**
   * `listener` runs each time a connection that dropped has its subscriptions again: what is published from then on is
   * heard, and what was missed can be looked up without missing more.
   */
  onBack(listener: () => void): () => void {
    this.#back.add(listener)
    return () => this.#back.delete(listener)
  }

  /**
   * ioredis would do it by itself (`autoResubscribe`), but nobody handles its promise: a server that freezes in
   * this very moment would end the process with an unhandled rejection. A connection that cannot subscribe is
   * given up for the next one.
   */
  #resubscribe(): void {
    const channels = [...this.#listeners.keys()]
    if (channels.length === 0 || this.#closed) return
    this.#subscriber.subscribe(...channels).then(
      () => {
        for (const listener of this.#back) listener()
      },
      () => {
        if (!this.#closed) this.#subscriber.disconnect(true)
      },
    )
  }

  /** Best effort: a message that comes nevertheless finds no listener, and a new connection does not ask for it. */
  async #unsubscribe(channel: string): Promise<void> {
    if (this.#subscriber.status === 'ready') await this.#subscriber.unsubscribe(channel).catch(() => {})
  }
}

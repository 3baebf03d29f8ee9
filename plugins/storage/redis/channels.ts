import type { Redis } from 'ioredis'

type Listener = (message: string) => void

/**
 * Pub/sub on one connection, shared by all services. Redis promises no delivery: whoever listens must be able
 * to find out what it missed (a sequence number, a head to poll) and is told by `onLost` when messages
 * may have gone by unheard.
 */
export class RedisChannels {
  readonly #subscriber: Redis
  readonly #publisher: Redis
  readonly #listeners = new Map<string, Set<Listener>>()
  readonly #lost = new Set<() => void>()

  constructor(subscriber: Redis, publisher: Redis) {
    this.#subscriber = subscriber
    this.#publisher = publisher
    subscriber.on('message', (channel: string, message: string) => {
      for (const listener of this.#listeners.get(channel) ?? []) listener(message)
    })
    subscriber.on('close', () => {
      for (const listener of this.#lost) listener()
    })
  }

  /** Resolves when the subscription stands; the returned function ends it. */
  async subscribe(channel: string, listener: Listener): Promise<() => Promise<void>> {
    const listeners = this.#listeners.get(channel) ?? new Set()
    this.#listeners.set(channel, listeners)
    listeners.add(listener)
    // Asking again for a standing subscription is harmless, and awaiting it covers a concurrent first subscriber.
    await this.#subscriber.subscribe(channel)
    return async () => {
      listeners.delete(listener)
      if (listeners.size > 0 || this.#listeners.get(channel) !== listeners) return
      this.#listeners.delete(channel)
      if (this.#subscriber.status === 'ready') await this.#subscriber.unsubscribe(channel)
    }
  }

  /** Resolves to the number of connections that Redis delivered to. */
  publish(channel: string, message: string): Promise<number> {
    return this.#publisher.publish(channel, message)
  }

  /** `listener` runs each time the connection drops: from then until it is back, messages are lost. */
  onLost(listener: () => void): () => void {
    this.#lost.add(listener)
    return () => this.#lost.delete(listener)
  }
}

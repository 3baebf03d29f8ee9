import type { Redis } from 'ioredis'
import { type Clock, systemClock, type Timer } from '../../support/clock.ts'
import { chunked } from './client.ts'
import { HEARTBEAT_INTERVAL } from './connection.ts'
import { redisFailure, refuse } from './failure.ts'
import type { RedisServers } from './servers.ts'

type Listener = (message: string) => void

/** An object of its own per call: two services may well pass the same function. */
interface Subscription {
  listener: Listener
}

/** How long until a channel of a Cluster that could not be listened to is tried again, in milliseconds. */
const RETRY_INTERVAL = 250
/** How often the owner of a slot may turn out to be another one within one attempt. */
const MAX_REDIRECTIONS = 5

/**
 * Pub/sub, shared by all services. Redis promises no delivery: listeners must be able
 * to find out what it missed (a sequence number, a head to poll) and is told by `onLost` when messages
 * may have gone by unheard.
 *
 * On one server all channels are on one connection. On a Cluster they lie in slots as keys do (SSUBSCRIBE): each is
 * heard on a connection to the node that serves its slot, and moves along with it.
 */
export class RedisChannels {
  readonly #servers: RedisServers
  readonly #clock: Clock
  readonly #listeners = new Map<string, Set<Subscription>>()
  /** Where each channel is subscribed to. */
  readonly #standing = new Map<string, Redis>()
  readonly #lines = new Set<Redis>()
  readonly #heartbeat: Timer
  readonly #unwatch: () => void
  readonly #lost = new Set<() => void>()
  readonly #back = new Set<() => void>()
  #restoring: Promise<void> | undefined
  #retry: Timer | undefined
  #closed = false

  constructor(servers: RedisServers, clock: Clock = systemClock) {
    this.#servers = servers
    this.#clock = clock
    for (const line of servers.lines.known()) this.#attach(line)
    this.#unwatch = servers.lines.onMoved(() => void this.#moved())
    // They only listen, so nothing else would ever find out that the other side is gone (see `socketTimeout`).
    this.#heartbeat = clock.every(HEARTBEAT_INTERVAL, () => {
      for (const line of this.#lines) if (line.status === 'ready') line.ping().catch(() => {})
    })
  }

  /** Ends the heartbeat; the connections belong to the code that opened them. */
  close(): void {
    this.#closed = true
    this.#heartbeat.cancel()
    this.#retry?.cancel()
    this.#unwatch()
  }

  /** What a script publishes by, on a channel that lies in the slot of its keys. */
  get publishing(): 'PUBLISH' | 'SPUBLISH' {
    return this.#servers.cluster ? 'SPUBLISH' : 'PUBLISH'
  }

  /**
   * Resolves when the subscription stands; the returned function ends it. When it rejects, `listener` will not be
   * called.
   * @throws STATEFUL_STORAGE_UNAVAILABLE
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
      await this.#stand([channel])
    } catch (error) {
      forget()
      throw redisFailure(error)
    }
    return async () => {
      if (forget()) await this.#unsubscribe(channel)
    }
  }

  /**
   * Resolves to the number of connections that were told.
   * @throws STATEFUL_STORAGE_UNAVAILABLE
   */
  publish(channel: string, message: string): Promise<number> {
    const { client, cluster } = this.#servers
    const told = cluster ? client.spublish(channel, message) : client.publish(channel, message)
    return (told as Promise<number>).catch(refuse)
  }

  /** `listener` runs each time a connection drops: from then until it is back, messages are lost. */
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

  #attach(line: Redis): void {
    if (this.#lines.has(line)) return
    this.#lines.add(line)
    // Without a listener ioredis prints to stderr.
    line.on('error', () => {})
    line.on(this.#servers.cluster ? 'smessage' : 'message', (channel: string, message: string) => {
      for (const { listener } of this.#listeners.get(channel) ?? []) {
        try {
          listener(message)
        } catch {
          // What its listener cannot read is as good as lost; thrown here it would end the process.
        }
      }
    })
    line.on('close', () => {
      this.#fall(line)
      if (this.#servers.cluster) void this.#restore()
    })
    line.on('end', () => this.#lines.delete(line))
    line.on('ready', () => void this.#restore())
    // A slot has left the node, which has ended the subscriptions in it; it does not say which to whom.
    line.on('moved', () => {
      this.#fall(line)
      void this.#moved()
    })
  }

  #fall(line: Redis): void {
    for (const [channel, standing] of this.#standing) if (standing === line) this.#standing.delete(channel)
    for (const listener of this.#lost) listener()
  }

  /** Channels whose slots another node has now are listened to there. */
  async #moved(): Promise<void> {
    if (this.#closed) return
    let fell = false
    for (const [channel, standing] of this.#standing) {
      const line = await this.#servers.lines.of(channel).catch(() => undefined)
      if (line === standing || this.#standing.get(channel) !== standing) continue
      this.#standing.delete(channel)
      fell = true
    }
    if (fell) for (const listener of this.#lost) listener()
    await this.#restore()
  }

  /**
   * ioredis would do it by itself (`autoResubscribe`), but its promise is never handled: a server that freezes in
   * this very moment would end the process with an unhandled rejection.
   */
  async #restore(): Promise<void> {
    while (this.#restoring) await this.#restoring
    const missing = [...this.#listeners.keys()].filter((channel) => !this.#standing.has(channel))
    if (missing.length === 0 || this.#closed) return
    this.#restoring = this.#stand(missing)
      .then(
        () => {
          for (const listener of this.#back) listener()
        },
        () => this.#tryLater(),
      )
      .finally(() => {
        this.#restoring = undefined
      })
    await this.#restoring
  }

  #tryLater(): void {
    if (this.#closed) return
    if (!this.#servers.cluster) {
      // A connection that cannot subscribe is given up for the next one.
      for (const line of this.#lines) line.disconnect(true)
      return
    }
    this.#retry?.cancel()
    this.#retry = this.#clock.after(RETRY_INTERVAL, () => {
      void this.#servers.lines.refresh().then(() => this.#restore())
    })
  }

  async #stand(channels: readonly string[]): Promise<void> {
    const { cluster, lines } = this.#servers
    if (cluster) {
      // One by one: those of one command would have to lie in one slot.
      await Promise.all(channels.map((channel) => this.#standInSlot(channel)))
      return
    }
    const line = await lines.of('')
    for (const some of chunked(channels)) {
      await line.subscribe(...some)
      for (const channel of some) this.#standing.set(channel, line)
    }
  }

  async #standInSlot(channel: string): Promise<void> {
    const { lines } = this.#servers
    for (let attempt = 1; ; attempt++) {
      const line = await lines.of(channel)
      this.#attach(line)
      try {
        await line.ssubscribe(channel)
        this.#standing.set(channel, line)
        return
      } catch (error) {
        if (attempt === MAX_REDIRECTIONS || !(error as Error).message.startsWith('MOVED')) throw error
        await lines.refresh()
      }
    }
  }

  /** Best effort: a message that comes nevertheless finds no listener, and a new connection does not ask for it. */
  async #unsubscribe(channel: string): Promise<void> {
    const line = this.#standing.get(channel)
    this.#standing.delete(channel)
    if (line?.status !== 'ready') return
    await (this.#servers.cluster ? line.sunsubscribe(channel) : line.unsubscribe(channel)).catch(() => {})
  }
}

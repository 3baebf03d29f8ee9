import type { RedisStorage } from '../../storage/storage.ts'
import { randomText } from '../../support/random.ts'
import type { RevocationBus, SessionEvent } from '../events.ts'

interface Message extends SessionEvent {
  from: string
}

/** Tells the others on this Redis which sessions ended. Redis may lose a message. */
export class RedisRevocationBus implements RevocationBus {
  readonly #storage: Pick<RedisStorage, 'channels'>
  readonly #channel: string
  #unsubscribe: (() => Promise<void>) | undefined
  /** There may be several on one connection: an `ExpressStore` beside the plugin `session`. */
  readonly #id = randomText(12)
  #ending: (() => void)[] = []

  constructor(storage: Pick<RedisStorage, 'channels' | 'prefix'>, area = '') {
    this.#storage = storage
    this.#channel = `${storage.prefix}session:${area === '' ? '' : `${area}:`}revoked`
  }

  async publish(event: SessionEvent): Promise<void> {
    const message: Message = { ...event, from: this.#id }
    await this.#storage.channels.publish(this.#channel, JSON.stringify(message))
  }

  async listen(onEvent: (event: SessionEvent) => void, onMissed: () => void): Promise<void> {
    const { channels } = this.#storage
    this.#ending = [channels.onLost(onMissed), channels.onBack(onMissed)]
    this.#unsubscribe = await channels.subscribe(this.#channel, (text) => {
      const { from, ...event } = JSON.parse(text) as Message
      if (from !== this.#id) onEvent(event)
    })
  }

  async close(): Promise<void> {
    for (const end of this.#ending) end()
    await this.#unsubscribe?.()
  }
}

import type { RedisStorage } from '../../storage/storage.ts'

/** Tells the other instances on this Redis which tokens were revoked. Redis may lose a message. */
export class RedisTokenBus {
  readonly #channels: RedisStorage['channels']
  readonly #channel: string
  #ending: (() => void | Promise<void>)[] = []

  constructor({ channels, prefix }: Pick<RedisStorage, 'channels' | 'prefix'>) {
    this.#channels = channels
    this.#channel = `${prefix}{tokens}:revoked`
  }

  /** @throws STATEFUL_STORAGE_UNAVAILABLE */
  async publish(id: string): Promise<void> {
    await this.#channels.publish(this.#channel, id)
  }

  /** @param onMissed runs when a message may have gone by unheard, and again when they are heard once more */
  async listen(onRevoked: (id: string) => void, onMissed: () => void): Promise<void> {
    this.#ending = [this.#channels.onLost(onMissed), this.#channels.onBack(onMissed)]
    this.#ending.push(await this.#channels.subscribe(this.#channel, onRevoked))
  }

  async close(): Promise<void> {
    for (const end of this.#ending) await end()
  }
}

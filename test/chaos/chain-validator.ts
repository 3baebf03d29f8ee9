import { WebSocket } from 'ws'
import type { WebSocketConstructor } from '../../client/index.ts'
import type { ServerMessage } from '../../openapi/messages/server.ts'
import { checked } from '../plugins/sync/messages.ts'

interface Chain {
  epoch: string
  revision: number
}

/**
 * Looks over the shoulder of a client: on each socket, what the server sends of each topic must be one chain: a
 * full sync or an answer to the client's own position, and then every change exactly once and in order.
 */
export function watchedWebSocket(violations: string[]): WebSocketConstructor {
  return class Watched extends WebSocket {
    readonly #chains = new Map<string, Chain>()

    constructor(url: string) {
      super(url)
      this.on('message', (data) => this.#hear(checked(data.toString())))
      this.on('error', () => {})
    }

    #hear(message: ServerMessage): void {
      if (message.type === 'fullSync' && !message.more) {
        this.#chains.set(topicOf(message), { epoch: message.epoch, revision: message.revision })
      }
      if (message.type === 'stateChange') {
        const { epoch, since, changes } = message
        const chain = since ? { ...since } : this.#chains.get(topicOf(message))
        if (!chain) {
          this.#violated('a change before any full sync', message)
          return
        }
        if (!since && chain.epoch !== epoch) this.#violated(`a change of another epoch than ${chain.epoch}`, message)
        for (const change of changes) {
          if (change.prev !== chain.revision) this.#violated(`not continuing ${chain.revision}`, message)
          if (change.revision < chain.revision) this.#violated('going back', message)
          chain.revision = change.revision
        }
        this.#chains.set(topicOf(message), { epoch, revision: chain.revision })
      }
      if (message.type === 'ack') {
        const chain = this.#chains.get(topicOf({ space: message.space }))
        // Acks of repeated writes name a revision that has long been passed.
        if (!chain || chain.epoch !== message.epoch || message.revision <= chain.revision) return
        if (message.prev !== chain.revision) this.#violated(`not continuing ${chain.revision}`, message)
        chain.revision = message.revision
      }
    }

    #violated(what: string, message: ServerMessage): void {
      violations.push(`${what}: ${JSON.stringify(message).slice(0, 300)}`)
    }
  }
}

function topicOf({ space, key, prefix }: { space: string; key?: string; prefix?: string }): string {
  return JSON.stringify([space, key, prefix])
}

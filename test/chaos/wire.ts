import { setImmediate as turn } from 'node:timers/promises'
import type { WebSocketLike } from '../../client/index.ts'
import type { Connection } from '../../plugins/sync/connection/connection.ts'
import type { SyncHub } from '../../plugins/sync/hub.ts'
import type { Frame } from '../../plugins/sync/transports/frame.ts'
import type { Transport } from '../../plugins/sync/transports/transport.ts'
import type { Random } from '../fixtures/random.ts'
import { checked } from '../plugins/sync/messages.ts'

/** Sockets between clients and a hub in one process: a test decides what arrives, and when. */
export class Network {
  readonly wires = new Set<Wire>()
  readonly #hub: SyncHub
  readonly random: Random
  /** Nobody gets through. */
  down = false

  constructor(hub: SyncHub, random: Random) {
    this.#hub = hub
    this.random = random
  }

  /** A class to connect by, as the client wants one. */
  get WebSocket(): new () => WebSocketLike {
    const network = this
    return class extends Wire {
      constructor() {
        super(network)
      }
    }
  }

  join(wire: Wire): Connection | undefined {
    this.wires.add(wire)
    if (this.down) return undefined
    return this.#hub.connect(wire.transport, { address: '127.0.0.1', authorize: async () => {} })
  }

  closed(connection: Connection, code: number): void {
    this.#hub.closed(connection, code)
  }

  /** Lets some of what is under way arrive. */
  async deliver(most = Number.POSITIVE_INFINITY): Promise<void> {
    for (const wire of [...this.wires]) wire.deliver(most)
    for (let turns = 0; turns < 4; turns++) await turn()
  }
}

class Wire implements WebSocketLike {
  readyState = 0
  onopen: ((event: never) => void) | null = null
  onmessage: ((event: never) => void) | null = null
  onclose: ((event: never) => void) | null = null
  onerror: ((event: never) => void) | null = null
  readonly transport: Transport
  readonly #network: Network
  #connection: Connection | undefined
  #up: string[] = []
  #down: string[] = []
  /** Neither side hears of the other any more. */
  halfOpen = false
  #closing: number | undefined

  constructor(network: Network) {
    this.#network = network
    this.transport = {
      kind: 'websocket',
      lowestHighWaterMark: 0,
      buffered: 0,
      send: ({ text }: Frame) => {
        checked(text)
        this.#down.push(text)
      },
      ping() {},
      pause() {},
      resume() {},
      close: (code) => {
        this.#closing = code
      },
      terminate: () => this.lose(1006),
    }
    this.#connection = network.join(this)
  }

  send(text: string): void {
    this.#up.push(text)
  }

  close(): void {
    if (this.readyState < 3) this.lose(1000)
  }

  /** @param most messages in each direction */
  deliver(most: number): void {
    if (this.readyState === 0 && this.#connection) {
      this.readyState = 1
      this.onopen?.({} as never)
    } else if (this.readyState === 0) this.lose(1006)
    if (this.halfOpen || this.readyState !== 1) return
    for (const text of this.#up.splice(0, most)) this.#connection?.receive(text)
    for (const data of this.#down.splice(0, most)) this.onmessage?.({ data } as never)
    if (this.#closing !== undefined && this.#down.length === 0) this.lose(this.#closing)
  }

  /** The connection ends, with all that is under way. */
  lose(code: number): void {
    if (this.readyState === 3) return
    this.readyState = 3
    this.#up = []
    this.#down = []
    this.#network.wires.delete(this)
    if (this.#connection) this.#network.closed(this.#connection, code)
    this.onclose?.({ code } as never)
  }
}

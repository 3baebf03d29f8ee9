import createFetchClient, { type Client } from 'openapi-fetch'
import { unknownOption } from '../plugins/support/option-names.ts'
import type { paths } from './api.d.ts'
import { Link, systemTiming, type Timing, type WebSocketConstructor } from './link.ts'
import type { Presence } from './presence.ts'
import type { QueueStorage } from './queue.ts'
import type { Replica, Topic } from './replica.ts'

export type { PresenceMember } from '../openapi/messages/server.ts'
export type { Json, Op, Position } from '../openapi/schemas/state.ts'
export { type ExternalStoreHook, type ReplicaHooks, replicaEvents, replicaHooks } from './adapters.ts'
export type { paths } from './api.d.ts'
export type { Timing, WebSocketConstructor, WebSocketLike } from './link.ts'
export type { Presence } from './presence.ts'
export type { QueueStorage } from './queue.ts'
export { type Replica, type ReplicaStatus, type Topic, WriteError } from './replica.ts'

export interface ClientOptions {
  /** Where the application is, with the prefix of its routes: `https://app.example` or `https://app.example/api`. */
  baseUrl: string
  /** Default: that of the platform. */
  fetch?: (request: Request) => Promise<Response>
  /** Default: that of the platform. Node 20 has none: pass that of `ws`. */
  WebSocket?: WebSocketConstructor
  /** Default `'include'`, so that the session cookie is sent. */
  credentials?: RequestCredentials
  /**
   * Names this client in what it writes. Default: a new random one, or the one in `storage`. Keep it secret and use
   * it in one page or process at a time.
   */
  clientId?: string
  /**
   * Keeps writes that are not confirmed across a reload of the page, and sends them again without ever applying one
   * twice. Pass `sessionStorage`, which each tab has for itself. Default: they are kept in memory only.
   */
  storage?: QueueStorage
  /** For tests. */
  timing?: Timing
}

export interface StatefulClient {
  /** Every route of the application, typed: `client.api.GET('/profile')` resolves to `{ data, error, response }`. */
  readonly api: Client<paths>
  /** A live copy of a space, or of one key or prefix of it; the same one until it is closed. */
  replica(space?: string, topic?: Topic): Replica
  /** Who follows a space, on all instances. Call its `update(data)` to be seen with a name or a cursor. */
  presence(space?: string): Presence
  /** Connects at once instead of at the end of the back-off: after a login, or on the browser's `online` event. */
  reconnect(): void
  close(): void
}

const OPTIONS: { [Name in keyof Required<ClientOptions>]: true } = {
  baseUrl: true,
  fetch: true,
  WebSocket: true,
  credentials: true,
  clientId: true,
  storage: true,
  timing: true,
}
const TOPIC: { [Name in keyof Required<Topic>]: true } = { key: true, prefix: true }

/** @throws TypeError for an option that there is none of */
function checkNames(options: object, known: object): void {
  const refusal = unknownOption(options, new Set(Object.keys(known)))
  if (refusal !== undefined) throw new TypeError(refusal)
}

/**
 * A client of a fastify-stateful application, for browsers and Node.
 * @throws TypeError for an option that there is none of
 */
export function createClient(options: ClientOptions): StatefulClient {
  checkNames(options, OPTIONS)
  const { baseUrl, fetch, credentials = 'include', timing = systemTiming } = options
  const api = createFetchClient<paths>({ baseUrl, credentials, ...(fetch ? { fetch } : {}) })
  let link: Link | undefined
  const connected = () => {
    const WebSocket = options.WebSocket ?? (globalThis as { WebSocket?: WebSocketConstructor }).WebSocket
    if (!WebSocket) throw new TypeError("This platform has no WebSocket: pass one as the option 'WebSocket'.")
    const url = `${baseUrl.replace(/\/$/, '').replace(/^http/, 'ws')}/sync`
    link ??= new Link({ url, WebSocket, timing, clientId: options.clientId, storage: options.storage })
    return link
  }
  return {
    api,
    replica(space = 'app', topic = {}) {
      checkNames(topic, TOPIC)
      return connected().replica(space, topic)
    },
    presence: (space = 'app') => connected().presence(space),
    reconnect: () => link?.reconnect(),
    close: () => link?.close(),
  }
}

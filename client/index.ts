import type { Client } from 'openapi-fetch'
import type { StateSnapshot } from '../openapi/schemas/state.ts'
import type { paths } from './api.d.ts'
import type { Given } from './credentials.ts'
import type { QueueStorage } from './keeper.ts'
import { Link, randomName, systemTiming, type Timing, type WebSocketConstructor, type WebSocketLike } from './link.ts'
import type { Presence } from './presence.ts'
import type { Replica, Topic } from './replica.ts'
import type { KeysOf, Spaces } from './types.ts'

export type { PresenceMember } from '../openapi/messages/server.ts'
export type { Json, Op, Position } from '../openapi/schemas/state.ts'
export type { paths } from './api.d.ts'
export type { Given } from './credentials.ts'
export { ReplicaError, WriteError } from './errors.ts'
export type { QueueStorage } from './keeper.ts'
export type { Timing, WebSocketConstructor, WebSocketLike } from './link.ts'
export type { Presence } from './presence.ts'
export type { Replica, ReplicaStatus, Topic } from './replica.ts'
export type { AnyKeys, KeysOf, Spaces, Writable } from './types.ts'

/** Options of {@link createClient}. */
export interface ClientOptions {
  /**
   * Where the application is, with the prefix of its routes: `https://app.example`, `https://app.example/api`; on a
   * page also `/api`, or `''` for its own host.
   */
  baseUrl: string
  /** Default: that of the platform. */
  fetch?: (request: Request) => Promise<Response>
  /** Default: that of the platform. Node 20 has none: pass that of `ws`. */
  WebSocket?: WebSocketConstructor
  /** Default `'include'`, so that the session cookie is sent. */
  credentials?: RequestCredentials
  /**
   * Sent as `Authorization: Bearer` with each request, and with each connection as a subprotocol that the server takes
   * for it. A function is asked each time.
   */
  token?: Given<string | undefined>
  /**
   * Sent with each request, and with each connection where the platform can (browsers cannot). A function is asked each
   * time.
   */
  headers?: Given<{ [name: string]: string }>
  /** Added to the URL of each connection; see `syncRoutes`' option `parameters`. A function is asked each time. */
  query?: Given<{ [name: string]: string }>
  /**
   * Names this client in what it writes. Default: a new random one for each page. Keep it secret. While another page
   * lives under the same one, the server gives this one an id of its own.
   */
  clientId?: string
  /**
   * Where what a reload would lose is kept: writes that are not confirmed, which are sent again without ever being
   * applied twice, and what replicas hold. `false`: in memory only. With `sessionStorage`: the writes, for this tab.
   * Default: in IndexedDB where there is one. It is dropped when the session ends.
   */
  storage?: QueueStorage | false
  /** What the page was rendered with, by space: `{ app: app.state.snapshot() }`. Replicas go on from there. */
  initial?: { readonly [space: string]: StateSnapshot }
  /** For tests. */
  timing?: Timing
}

/** REST calls and live replicas of one server, see {@link createClient}. */
export interface StatefulClient<Paths extends object = paths, S extends Spaces = Spaces> {
  /** Every route of the application, typed: `client.api.GET('/profile')` resolves to `{ data, error, response }`. */
  readonly api: Client<Paths>
  /**
   * A live copy of a space, or of one key or prefix of it: one for all who ask. Each of them closes it; the last one
   * ends it.
   * @example
   * const board = client.replica('board')
   * await board.ready()
   * await board.set('title', 'Hello')
   */
  replica<const Name extends string = 'app'>(space?: Name, topic?: Topic): Replica<KeysOf<S, Name>>
  /** Who follows a space, on all instances. Call its `update(data)` to be seen with a name or a cursor. */
  presence(space?: string): Presence
  /** Begins a new connection at once: after a login. */
  reconnect(): void
  close(): void
}

const OPTIONS: { [Name in keyof Required<ClientOptions>]: true } = {
  baseUrl: true,
  fetch: true,
  WebSocket: true,
  credentials: true,
  token: true,
  headers: true,
  query: true,
  clientId: true,
  storage: true,
  initial: true,
  timing: true,
}
const TOPIC: { [Name in keyof Required<Topic>]: true } = { key: true, prefix: true }

/** @throws TypeError for an option that there is none of */
function checkNames(options: object, known: object): void {
  for (const name in options) {
    if (!(name in known)) throw new TypeError(`Unknown option '${name}'. Known are: ${Object.keys(known).join(', ')}.`)
  }
}

/** What a page has beside what Node has too. */
interface Page {
  readonly document?: EventTarget & { readonly visibilityState?: string }
  readonly location?: { readonly href: string }
  readonly indexedDB?: object
  readonly addEventListener?: (type: string, listener: () => void) => void
  readonly removeEventListener?: (type: string, listener: () => void) => void
  readonly WebSocket?: WebSocketConstructor
}

/**
 * A client of a fastify-stateful application, for browsers and Node.
 *
 * `Paths` are those of your own OpenAPI document (openapi-typescript writes them), `S` the values of your spaces by their
 * keys: `createClient<paths, { board: { title: string } }>({ baseUrl })`.
 * @throws TypeError for an option that there is none of
 */
export function createClient<Paths extends object = paths, S extends Spaces = Spaces>(
  options: ClientOptions,
): StatefulClient<Paths, S> {
  checkNames(options, OPTIONS)
  const { baseUrl, fetch, credentials = 'include', timing = systemTiming, token, headers, query } = options
  const page = globalThis as unknown as Page
  const here = page.location?.href
  const asked = { token, headers, query }
  const asks = token ?? headers ?? query

  /** Loaded with the first request: who only follows and writes state does without. */
  const loadApi = async () => {
    const { restClient } = await import('./rest.ts')
    const api = restClient<Paths>({ baseUrl, credentials, fetch, ...asked })
    return api as unknown as { [method: string]: (...parts: unknown[]) => unknown }
  }
  let loading: ReturnType<typeof loadApi> | undefined
  const api = new Proxy({} as Client<Paths>, {
    get: (_, method) => {
      // Not a promise: `await` must not find a `then`.
      if (typeof method !== 'string' || method === 'then') return undefined
      return async (...parts: unknown[]) => {
        loading ??= loadApi()
        return (await loading)[method]?.(...parts)
      }
    },
  })

  let link: Link | undefined
  const open = (url: string, protocols: string[], more: object): WebSocketLike => {
    const WebSocket = options.WebSocket ?? page.WebSocket
    if (!WebSocket) throw new TypeError("This platform has no WebSocket: pass one as the option 'WebSocket'.")
    if (!here && !/^https?:/.test(baseUrl)) throw new TypeError("Outside a page 'baseUrl' is a whole URL.")
    return new WebSocket(url, protocols, more)
  }
  const wake = () => {
    if (page.document?.visibilityState !== 'hidden') link?.wake()
  }
  const watch = (method: 'addEventListener' | 'removeEventListener') => {
    for (const event of ['online', 'pageshow']) page[method]?.(event, wake)
    for (const event of ['visibilitychange', 'resume']) page.document?.[method](event, wake)
  }
  const connected = () => {
    if (link) return link
    // A page that is rendered on a server connects to nothing, and its own host is not known there.
    const url = `${new URL(baseUrl || '/', here ?? 'http://localhost').href.replace(/\/$/, '').replace(/^http/, 'ws')}/sync`
    const clientId = options.clientId ?? randomName()
    const keep = async () => {
      if (!options.storage) return (await import('./database.ts')).databaseKeeper(url, clientId, timing.after)
      return (await import('./keeper.ts')).storageKeeper(url, clientId, options.storage)
    }
    const keeps = options.storage ?? page.indexedDB
    link = new Link({
      url,
      open,
      credentials: asks ? async () => (await import('./credentials.ts')).connectionCredentials(url, asked) : undefined,
      timing,
      // While a page is rendered on a server there are no subscribers, and nothing may stay open.
      eager: options.WebSocket !== undefined || page.document !== undefined,
      clientId,
      // What cannot be loaded keeps nothing.
      keeper: keeps ? keep().catch(() => undefined) : undefined,
      initial: options.initial ?? {},
    })
    watch('addEventListener')
    return link
  }
  return {
    api,
    replica<const Name extends string = 'app'>(space = 'app' as Name, topic: Topic = {}) {
      checkNames(topic, TOPIC)
      return connected().replica(space, topic) as unknown as Replica<KeysOf<S, Name>>
    },
    presence: (space = 'app') => connected().presence(space),
    reconnect: () => link?.reconnect(),
    close() {
      watch('removeEventListener')
      link?.close()
    },
  }
}

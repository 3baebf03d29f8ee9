import type { RedisOptions } from 'ioredis'
import { invalidOption } from '../../support/options.ts'

export interface RedisNode {
  host: string
  port: number
}

/** Where Redis is, as the URL says it. */
export type RedisAddress =
  /** One server; the URL is ioredis' own affair. */
  | { kind: 'server'; url: string }
  /** Some nodes of a Cluster; the others are found by asking them. */
  | { kind: 'cluster'; nodes: RedisNode[]; login: Pick<RedisOptions, 'username' | 'password' | 'tls'> }
  /** Sentinels that know which server is the primary now. */
  | { kind: 'sentinel'; options: RedisOptions }

const URL_OF_MANY =
  /^redis(s?)\+(cluster|sentinel):\/\/(?:([^:@/]*)(?::([^@/]*))?@)?([^/@?#]+)(?:\/([^/?#]+))?(?:\/(\d+))?$/

/**
 * `redis://…`, `rediss://…` (TLS), `redis+cluster://[user:password@]host:port,host:port` or
 * `redis+sentinel://[user:password@]host:port,host:port/<name of the primary>[/db]`; `rediss+…` as well.
 * @throws STATEFUL_INVALID_OPTION, which repeats nothing of the URL: it may hold a password
 */
export function redisAddress(url: string): RedisAddress {
  if (/^rediss?:\/\//.test(url)) return { kind: 'server', url }
  const [, tls, kind, user, password, hosts = '', name, db] = URL_OF_MANY.exec(url) ?? []
  const nodes = hosts.split(',').map((host) => node(host, kind === 'sentinel' ? 26_379 : 6_379))
  if (nodes.some((one) => one === undefined) || (kind === 'sentinel') !== (name !== undefined)) {
    throw invalidOption(
      'storage',
      "must be 'redis+cluster://host:port,host:port' or 'redis+sentinel://host:port,host:port/<name of the primary>'.",
    )
  }
  const found = nodes as RedisNode[]
  const login = {
    ...(user ? { username: decodeURIComponent(user) } : {}),
    ...(password ? { password: decodeURIComponent(password) } : {}),
    ...(tls ? { tls: {} } : {}),
  }
  if (kind === 'cluster') return { kind, nodes: found, login }
  const sentinel: RedisOptions = { sentinels: found, name: name as string, ...(db ? { db: Number(db) } : {}) }
  return { kind: 'sentinel', options: { ...login, ...sentinel, ...(tls ? { enableTLSForSentinelMode: true } : {}) } }
}

function node(text: string, defaultPort: number): RedisNode | undefined {
  try {
    const { hostname, port, pathname } = new URL(`redis://${text}`)
    // An IPv6 address stands in brackets only inside a URL.
    const host = hostname.replace(/^\[(.*)\]$/, '$1')
    return host === '' || pathname !== '' ? undefined : { host, port: port === '' ? defaultPort : Number(port) }
  } catch {
    return undefined
  }
}

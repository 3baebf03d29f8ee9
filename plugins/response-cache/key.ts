import { createHash } from 'node:crypto'
import type { TLSSocket } from 'node:tls'
import type { FastifyRequest, RouteOptions } from 'fastify'
import { MAX_KEY_BYTES } from '../support/keys.ts'
import type { RouteCache } from './index.ts'

/**
 * Headers that tell who asks, by their names: nobody can list them all, so whatever sounds like a credential or like
 * somebody counts. A name too many costs a cached answer; one too few would hand out somebody else's.
 */
const PERSONAL =
  /auth|cookie|token|key|secret|session|credential|passw|signature|jwt|saml|oidc|otp|dpop|csrf|xsrf|cert|identity|principal|user(?!-agent)|account|email|login|tenant|customer|consumer|role|group|(client|device|visitor)-?id|(^|-)[us]id$/
/** Sent by browsers and by HTTP/2 itself with every request. */
const IMPERSONAL = /^(:|sec-ch-|sec-fetch-|sec-gpc$)/

/** What of a route its keys depend on. */
export interface KeyRule {
  /** Query parameters that may be there. */
  query: ReadonlySet<string>
  /** Request headers whose value is in the key, in lower case and sorted. */
  vary: readonly string[]
  shared: boolean
  /** Apart from the other routes of the same path. */
  constraints: string
}

export function keyRule({ query = [], vary = [], shared = false }: RouteCache, route: RouteOptions): KeyRule {
  const { constraints = {} } = route
  const named = vary.map((name) => name.toLowerCase())
  // A range such as `1.x` reaches the newest version that there is, which another deployment may have changed.
  if ('version' in constraints) named.push('accept-version')
  return {
    query: new Set(query),
    vary: [...new Set(named)].sort(),
    shared,
    constraints: JSON.stringify(constraints, (_name, value) => (value instanceof RegExp ? `${value}` : value)),
  }
}

/**
 * The key of a request, or `undefined` when its answer must not be shared: it carries something that the handler may
 * read and that the key would not hold. Two requests with one key have the same method, host, URL to the last
 * character and named headers, so that no parser of queries can tell them apart.
 *
 * @param asked names of the query parameters as the application's parser found them, before validation changed them
 */
export function keyOf(request: FastifyRequest, rule: KeyRule, asked: readonly string[]): string | undefined {
  // What a handler with `attachValidation` judges by itself may lie in a header.
  if (request.validationError || (request.body !== undefined && request.body !== null)) return undefined
  if (!rule.shared && isPersonal(request, rule.vary)) return undefined
  if (!asked.every((name) => rule.query.has(name))) return undefined
  const { method, protocol, host, url, originalUrl, headers } = request
  const named = rule.vary.map((name) => [name, headers[name] ?? null])
  const parts = [protocol, host, url, originalUrl, rule.constraints, named]
  const digest = createHash('sha256').update(JSON.stringify(parts)).digest('base64url')
  const key = `${method} ${url.split('?', 1)[0]} ${digest}`
  return Buffer.byteLength(key) <= MAX_KEY_BYTES ? key : `${method} ${digest}`
}

/** Whether the request tells who asks, by more than the headers that are named. */
export function isPersonal({ headers, socket }: FastifyRequest, named: readonly string[] = []): boolean {
  for (const name in headers) {
    if (PERSONAL.test(name) && !IMPERSONAL.test(name) && !named.includes(name)) return true
  }
  return hasCertificate(socket as Partial<TLSSocket>)
}

/** A client's certificate is a credential that no header carries. */
function hasCertificate(socket: Partial<TLSSocket>): boolean {
  if (!socket?.encrypted || typeof socket.getPeerCertificate !== 'function') return false
  return Object.keys(socket.getPeerCertificate() ?? {}).length > 0
}

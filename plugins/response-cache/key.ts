import { createHash } from 'node:crypto'
import type { TLSSocket } from 'node:tls'
import type { FastifyRequest, RouteOptions } from 'fastify'
import { MAX_KEY_BYTES } from '../support/keys.ts'
import type { RouteCache } from './options.ts'

/**
 * Headers that tell who asks, by their names: they cannot all be listed, so what sounds like a credential or like
 * somebody counts. A name too many costs a cached answer; one too few would hand out somebody else's.
 */
const PERSONAL =
  /auth|cookie|token|key|secret|session|credential|passw|signature|jwt|saml|oidc|otp|dpop|csrf|xsrf|cert|identity|principal|user(?!-agent)|account|email|login|tenant|customer|consumer|role|group|(client|device|visitor)-?id|(^|-)[us]id$/
/** Sent by browsers and by HTTP/2 itself with every request. */
const IMPERSONAL = /^(:|sec-ch-|sec-fetch-|sec-gpc$)/

/** What of a route its keys depend on. */
export interface KeyRule {
  /** Query parameters that may be there; `undefined` for any. */
  query: ReadonlySet<string> | undefined
  /** Request headers whose value is in the key, in lower case and sorted. */
  vary: readonly string[]
  shared: boolean
  /** Tells the route apart from the others of the same address. */
  signature: string
}

/** Where a resource lies, as the client and as the router see it. */
export interface Address {
  protocol: string
  host: string
  url: string
  originalUrl: string
}

export function keyRule({ ttl, query, vary = [], shared = false }: RouteCache, route: RouteOptions): KeyRule {
  const { constraints = {} } = route
  const named = vary.map((name) => name.toLowerCase())
  // A range such as `1.x` reaches the newest version that there is, which another deployment may have changed.
  if ('version' in constraints) named.push('accept-version')
  const sorted = [...new Set(named)].sort()
  const told = JSON.stringify(constraints, (_name, value) => (value instanceof RegExp ? `${value}` : value))
  return {
    query: query ? new Set(query) : ttl === 'headers' ? undefined : new Set(),
    vary: sorted,
    shared,
    signature: JSON.stringify([told, sorted]),
  }
}

/**
 * The key of what lies at an address for the routes of one signature. What varies there is told apart by
 * {@link variantKey}, so that a request that changes the resource can tell its key without knowing who has asked for
 * it.
 */
export function resourceKey({ protocol, host, url, originalUrl }: Address, signature: string): string {
  return keyText(url, [protocol, host, url, originalUrl, signature])
}

/**
 * The key of one of the answers that a resource has, by the request headers that they depend on, to the letter.
 *
 * @param nonce of the generation: once it is forgotten they cannot be found any more
 */
export function variantKey(request: FastifyRequest, names: readonly string[], nonce: string): string {
  const values = names.map((name) => [name, request.headers[name] ?? null])
  return keyText(request.url, [nonce, request.protocol, request.host, request.url, request.originalUrl, values])
}

function keyText(url: string, parts: readonly unknown[]): string {
  const digest = createHash('sha256').update(JSON.stringify(parts)).digest('base64url')
  const key = `GET ${url.split('?', 1)[0]} ${digest}`
  return Buffer.byteLength(key) <= MAX_KEY_BYTES ? key : `GET ${digest}`
}

/**
 * Whether the answer to a request may be shared with all that have the same key; not when it carries something that the
 * handler may read and that the key would not hold. Two requests with one key have the same host, URL to the last
 * character and named headers, so that no parser of queries can tell them apart.
 *
 * @param asked names of the query parameters as the application's parser found them, before validation changed them
 */
export function isShareable(request: FastifyRequest, rule: KeyRule, asked: readonly string[]): boolean {
  // What a handler with `attachValidation` judges by itself may lie in a header.
  if (request.validationError || (request.body !== undefined && request.body !== null)) return false
  if (!rule.shared && isPersonal(request, rule.vary)) return false
  const { query } = rule
  return query === undefined || asked.every((name) => query.has(name))
}

/** Whether the request tells who asks, by more than the headers that are named. */
export function isPersonal({ headers, socket }: FastifyRequest, named: readonly string[] = []): boolean {
  for (const name in headers) {
    if (soundsPersonal(name) && !named.includes(name)) return true
  }
  return hasCertificate(socket as Partial<TLSSocket>)
}

/** Whether a header or a cookie of this name tells who asks; in lower case. */
export const soundsPersonal = (name: string): boolean => PERSONAL.test(name) && !IMPERSONAL.test(name)

/** A client's certificate is a credential that no header carries. */
function hasCertificate(socket: Partial<TLSSocket>): boolean {
  if (!socket?.encrypted || typeof socket.getPeerCertificate !== 'function') return false
  return Object.keys(socket.getPeerCertificate() ?? {}).length > 0
}

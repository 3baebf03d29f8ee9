import type { FastifyRequest } from 'fastify'

/** The parameter of a URL that a token may come as. */
const PARAMETER = /([?&]access_token=)[^&#]*/g

const PREFIX = 'bearer.'

/**
 * Pages cannot set headers of a WebSocket or of an event stream. A token therefore comes as a subprotocol
 * (`new WebSocket(url, ['stateful', 'bearer.' + base64url])`, which no log of URLs holds) or as the parameter
 * `access_token` (RFC 6750 §2.3), and is from here on what it would have been: `Authorization: Bearer`.
 */
export function adoptToken({ headers, query }: FastifyRequest): void {
  if (headers.authorization !== undefined) return
  const offered = headers['sec-websocket-protocol']?.split(',').map((one) => one.trim()) ?? []
  const bearer = offered.find((one) => one.startsWith(PREFIX))?.slice(PREFIX.length)
  const { access_token: parameter } = query as { access_token?: unknown }
  const token = bearer === undefined ? parameter : Buffer.from(bearer, 'base64url').toString()
  // What is no token by RFC 6750 is none: a header must not hold line breaks.
  if (typeof token === 'string' && /^[\w.~+/-]+=*$/.test(token)) headers.authorization = `Bearer ${token}`
}

/**
 * How the log shows a request whose URL may hold a token, as Fastify's own serializer does it: for the route option
 * `logSerializers`.
 */
export const withoutToken = {
  req: ({ method, url, headers, host, ip, socket }: FastifyRequest) => ({
    method,
    url: url.replace(PARAMETER, '$1[redacted]'),
    version: headers['accept-version'],
    host,
    remoteAddress: ip,
    remotePort: socket?.remotePort,
  }),
}

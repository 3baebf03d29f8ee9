import type { FastifyInstance, FastifyRequest } from 'fastify'

/** What a proxy says of the client in; Fastify reads the first three, and only those of a proxy that it trusts. */
const HEADERS = ['x-forwarded-for', 'x-forwarded-proto', 'x-forwarded-host', 'forwarded'] as const

/**
 * Tells, once, that something sends forwarding headers which are not believed: a proxy that `trustProxy` does not name.
 * Every client then has its address, which limits count by, and HTTPS looks like HTTP. It may also be a client who
 * makes them up, so nothing is believed for it.
 */
export function noticeUntrustedProxy(fastify: FastifyInstance): void {
  const log = fastify.log.child({ plugin: 'security' })
  let told = false
  fastify.addHook('onRequest', (request, _reply, done) => {
    if (!told && isForwardedByStranger(request)) {
      told = true
      const { headers } = request
      log.warn(
        {
          peer: request.socket.remoteAddress,
          headers: HEADERS.filter((name) => headers[name] !== undefined),
          protocol: request.protocol,
        },
        "a request has forwarding headers from a peer that is not trusted: if it is your proxy, name its address or network in TRUST_PROXY (Fastify's `trustProxy`). Until then all clients behind it count as one address, its HTTPS is taken for HTTP (`secure: 'auto'` sets no Secure cookie), and its host for ours. `Forwarded` is not read: let it send `X-Forwarded-For`, `-Proto` and `-Host`.",
      )
    }
    done()
  })
}

function isForwardedByStranger({ headers, ips }: FastifyRequest): boolean {
  if (!HEADERS.some((name) => headers[name] !== undefined)) return false
  // Without `trustProxy` no peer is trusted. With it, these are the peer and, if it is trusted, whom it names.
  if (ips === undefined) return true
  return headers['x-forwarded-for'] !== undefined ? ips.length < 2 : headers['forwarded'] !== undefined
}

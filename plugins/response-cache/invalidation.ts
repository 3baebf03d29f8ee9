import type { FastifyReply, FastifyRequest } from 'fastify'
import { type Address, resourceKey } from './key.ts'

/** Methods that are expected to change nothing (RFC 9110 §9.2.1, and those that WebDAV and QUERY have added). */
const SAFE = new Set(['GET', 'HEAD', 'OPTIONS', 'TRACE', 'PROPFIND', 'REPORT', 'SEARCH', 'QUERY'])

export const isSafe = (method: string): boolean => SAFE.has(method)

/** Which routes have answers that a change may concern. */
export class Changes {
  readonly #signatures = new Set<string>()
  readonly #prefixes = new Set<string>()

  /** A route whose answers are cached. */
  watch(url: string, signature: string): void {
    this.#signatures.add(signature)
    this.#prefixes.add(plain(url.split(/[:*(]/, 1)[0] as string))
  }

  /**
   * The keys of what an unsafe method has changed: the resource that it was asked of, and those of the same host that
   * its answer names (RFC 9111 §4.4).
   */
  keys(request: FastifyRequest, reply: FastifyReply): string[] {
    if (this.#signatures.size === 0) return []
    const { protocol, host, url, originalUrl } = request
    const addresses: Address[] = [{ protocol, host, url, originalUrl }]
    for (const name of ['location', 'content-location']) {
      const named = reply.getHeader(name)
      const there = named === undefined ? undefined : address(`${named}`, addresses[0] as Address)
      if (there) addresses.push(there)
    }
    const concerned = addresses.filter((one) => this.#mayBeCached(one.url))
    return concerned.flatMap((one) => [...this.#signatures].map((signature) => resourceKey(one, signature)))
  }

  /** Whether a route of these may have answered the address: rather once too often than never. */
  #mayBeCached(url: string): boolean {
    const path = plain(url.split('?', 1)[0] as string)
    // Routers may read these in more than one way.
    if (/%|\/\/|;/.test(path)) return true
    return [...this.#prefixes].some((prefix) => path.startsWith(prefix))
  }
}

const plain = (path: string): string => path.toLowerCase().replace(/\/$/, '')

/** Where a reference points, if that is the same host. */
function address(reference: string, from: Address): Address | undefined {
  const base = `${from.protocol}://${from.host}${from.originalUrl}`
  if (!URL.canParse(reference, base)) return undefined
  const { protocol, host, pathname, search } = new URL(reference, base)
  if (protocol !== `${from.protocol}:` || host !== new URL(base).host) return undefined
  const url = pathname + search
  return { protocol: from.protocol, host: from.host, url, originalUrl: url }
}

import type { FastifyReply } from 'fastify'

/** Why a request was not answered from the cache (RFC 9211 §2.2). */
export type Forwarded = 'bypass' | 'method' | 'uri-miss' | 'vary-miss' | 'miss' | 'request' | 'stale' | 'partial'

/** What the cache did with a request. */
export interface CacheStatus {
  hit: boolean
  /** Unless it was a hit. */
  forwarded: Forwarded | undefined
  /** What the maker of the answer has said, when the client gets something else. */
  forwardedStatus: number | undefined
  stored: boolean
  /** Another request has made the answer meanwhile. */
  collapsed: boolean
  /** For how long the answer is still fresh, in ms; less than 0 when it is stale. */
  left: number | undefined
}

export const NO_STATUS: CacheStatus = {
  hit: false,
  forwarded: undefined,
  forwardedStatus: undefined,
  stored: false,
  collapsed: false,
  left: undefined,
}

/**
 * Adds to `Cache-Status` (RFC 9211), behind the caches that are nearer to the origin.
 * @param others what these have said
 */
export function tellStatus(reply: FastifyReply, name: string, status: CacheStatus, others: string | undefined): void {
  const parts = [/^[A-Za-z*][\w!#$%&'*+.^`|~:/-]*$/.test(name) ? name : `"${name.replace(/["\\]/g, '\\$&')}"`]
  if (status.hit) parts.push('hit')
  if (status.forwarded) parts.push(`fwd=${status.forwarded}`)
  if (status.forwardedStatus !== undefined) parts.push(`fwd-status=${status.forwardedStatus}`)
  if (status.stored) parts.push('stored')
  if (status.collapsed) parts.push('collapsed')
  if (status.left !== undefined) parts.push(`ttl=${Math.trunc(status.left / 1_000)}`)
  const own = parts.join('; ')
  reply.header('cache-status', others === undefined ? own : `${others}, ${own}`)
}

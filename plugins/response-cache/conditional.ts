import type { FastifyRequest } from 'fastify'
import { isFresh, namesTagStrongly } from '../support/http.ts'
import { type CachedAnswer, isWeak } from './answer.ts'

/** Headers that make a request conditional or ask for a part (RFC 9110 §13.1, §14.2). */
const CONDITIONS = [
  'if-none-match',
  'if-modified-since',
  'if-match',
  'if-unmodified-since',
  'if-range',
  'range',
] as const

export type Conditions = Partial<Record<(typeof CONDITIONS)[number], string>>

/** What the client asks beside the resource itself. */
export function conditionsOf({ headers }: FastifyRequest): Conditions {
  const found: Conditions = {}
  for (const name of CONDITIONS) {
    const value = headers[name]
    if (typeof value === 'string') found[name] = value
  }
  return found
}

/**
 * Takes the client's conditions out of the request: an answer that is made for others is made whole. With a stored
 * answer its own validators take their place, so that its maker may say by a 304 that it still holds.
 */
export function replaceConditions(request: FastifyRequest, stored: CachedAnswer | undefined): Conditions {
  const { headers } = request.raw
  const taken = conditionsOf(request)
  for (const name of CONDITIONS) delete headers[name]
  const { etag, 'last-modified': modified } = stored?.headers ?? {}
  if (typeof etag === 'string') headers['if-none-match'] = etag
  if (typeof modified === 'string') headers['if-modified-since'] = modified
  return taken
}

/** Gives them back, for the hooks that come after the handler. */
export function restoreConditions(request: FastifyRequest, taken: Conditions): void {
  const { headers } = request.raw
  for (const name of CONDITIONS) delete headers[name]
  Object.assign(headers, taken)
}

/** Whether the client has this answer already, so that 304 is enough. */
export function holds(conditions: Conditions, answer: Pick<CachedAnswer, 'etag' | 'headers'>): boolean {
  const { 'last-modified': modified, date } = answer.headers
  // One without Last-Modified was not modified before it was made (RFC 9111 §4.3.2).
  return isFresh({ ...conditions }, { etag: answer.etag, lastModified: (modified ?? date)?.toString() })
}

/**
 * The tag that a 304 tells. Who names only the weak form may hold an encoding of the answer that somebody has made
 * after the cache, which the strong one does not name.
 */
export function tagFor(conditions: Conditions, etag: string): string {
  const list = conditions['if-none-match']
  if (list === undefined || isWeak(etag) || namesTagStrongly(list, etag)) return etag
  return `W/${etag}`
}

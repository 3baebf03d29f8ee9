import type { CachedAnswer } from './answer.ts'
import { isWeak } from './answer.ts'
import type { Conditions } from './conditional.ts'
import { dateOf } from './freshness.ts'

/** First and last byte of a part, both within the whole. */
export interface Part {
  first: number
  last: number
}

/** `'whole'` when no single part is asked for, `'none'` when there is nothing of what is. */
export type Parts = Part | 'whole' | 'none'

/**
 * What of an answer a request asks for (RFC 9110 §14). More than one range at once, other units, and what makes no sense
 * get the whole, as does an `If-Range` that names another answer.
 */
export function partOf(conditions: Conditions, answer: CachedAnswer, bytes: number, now: number): Parts {
  const { range, 'if-range': condition } = conditions
  if (range === undefined || answer.status !== 200) return 'whole'
  if (condition !== undefined && !isSame(condition, answer, now)) return 'whole'
  const [, from, to] = /^bytes=\s*(\d*)-(\d*)\s*$/i.exec(range) ?? []
  if (from === undefined || to === undefined || (from === '' && to === '')) return 'whole'
  if (from === '') {
    const length = Math.min(Number(to), bytes)
    return length === 0 ? 'none' : { first: bytes - length, last: bytes - 1 }
  }
  const first = Number(from)
  const last = to === '' ? bytes - 1 : Math.min(Number(to), bytes - 1)
  if (to !== '' && Number(to) < first) return 'whole'
  return first >= bytes ? 'none' : { first, last }
}

/** Compared strongly: a part of one answer must not be put together with another's (RFC 9110 §13.1.5). */
function isSame(condition: string, { etag, headers }: CachedAnswer, now: number): boolean {
  if (condition.includes('"')) return condition === etag && !isWeak(etag)
  const modified = headers['last-modified']
  if (typeof modified !== 'string') return false
  return dateOf(condition, now) === dateOf(modified, now)
}

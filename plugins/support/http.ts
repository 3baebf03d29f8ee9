import fresh from 'fresh'
import Negotiator from 'negotiator'

/** What a response says of the version that it shows. */
export interface Validators {
  etag: string
  lastModified?: string | undefined
}

/**
 * Whether the client has this version already, so that 304 answers its read (RFC 9110 §13.1.2, §13.1.3). One that asks
 * for a reload (`Cache-Control: no-cache`) gets the whole answer.
 */
export function isFresh(headers: Record<string, string | string[] | undefined>, validators: Validators): boolean {
  return fresh(headers, { etag: validators.etag, 'last-modified': validators.lastModified })
}

/** Whether the entity tag is in a list of them, or the list is `*`; compared weakly (RFC 9110 §8.8.3.2). */
export function namesTag(list: string, etag: string): boolean {
  return fresh({ 'if-none-match': list.trim() }, { etag })
}

/** The same, compared strongly: a weak tag never matches. For `If-Match`. */
export function namesTagStrongly(list: string, etag: string): boolean {
  return list.trim() === '*' || (!etag.startsWith('W/') && list.split(',').some((tag) => tag.trim() === etag))
}

/**
 * Which of these media types the client prefers; the first when it has no preference, and when it takes none of them
 * (RFC 9110 §12.5.1 lets the server choose then).
 */
export function preferredType(accept: string | undefined, types: readonly [string, ...string[]]): string {
  return new Negotiator({ headers: { accept } }).mediaType([...types]) ?? types[0]
}

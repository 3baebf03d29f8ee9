import { createHash } from 'node:crypto'
import { isExplicit, type RouteTerms, type Terms, termsOf } from './freshness.ts'
import {
  dependencies,
  fieldNames,
  type HeaderFields,
  isEncoded,
  type KeptFields,
  keptFields,
  updatedFields,
} from './headers.ts'
import { soundsPersonal } from './key.ts'

/** A whole answer of a handler, as it is kept. */
export interface CachedAnswer {
  status: number
  headers: KeptFields
  body: string | Buffer
  /** What clients are told; of the handler, or made from the body. */
  etag: string
  /** Names of the request headers that it depends on, in lower case. */
  vary: string[]
  /** When it came, wall clock in ms. */
  at: number
  terms: Terms
  /** The last attempt to renew it has failed. */
  failed: boolean
}

/** What one resource has several answers for, in place of an answer. */
export interface Variants {
  /** Names of the request headers that tell them apart, in lower case and sorted. */
  vary: string[]
  /** Part of the keys of all of them: another one makes new keys. */
  nonce: string
}

export type Entry = CachedAnswer | Variants

export const isVariants = (entry: Entry): entry is Variants => 'nonce' in entry

/** An answer as its handler has made it. */
export interface Made {
  status: number
  headers: HeaderFields
  /** Headers that were set when the handler began. */
  before: HeaderFields
  /** Names of those that hooks have set after it had answered. */
  hooked: ReadonlySet<string>
}

/** Of whom the answer was asked, and by whom. */
export interface Origin {
  route: RouteTerms
  /** The route's answers are the same for everybody. */
  shared: boolean
  /** The request tells who asks. */
  personal: boolean
  /** Its request had an `Authorization` that the key does not hold. */
  credentials: boolean
}

/** An answer without its body. */
export type AnswerHead = Omit<CachedAnswer, 'body' | 'etag'> & { etag: string | undefined }

/** How long a cookie may be that cannot tell users apart. */
const IMPERSONAL_COOKIE = 8
/** A sound answer has no more names than that in its `Vary`. */
const MAX_DEPENDENCIES = 16

/** What is kept of an answer, or `undefined` when it must not be. */
export function answerHead(
  { status, headers, before, hooked }: Made,
  origin: Origin,
  at: number,
): AnswerHead | undefined {
  const terms = termsOf(status, headers, at, origin.route, origin.credentials)
  const vary = dependencies(headers, before)
  if (terms === undefined || vary.includes('*') || vary.length > MAX_DEPENDENCIES) return undefined
  const cookies = ownCookies({ headers, before, hooked })
  if (headers['set-cookie'] !== undefined && !(cookies && areForAll(cookies, headers, origin))) return undefined
  const kept = keptFields(headers, before, hooked)
  if (cookies !== undefined) kept['set-cookie'] = one(cookies)
  const etag = told(headers['etag'], headers)
  return { status, headers: kept, etag, vary, at, terms, failed: false }
}

export function wholeAnswer(head: AnswerHead, body: string | Buffer): CachedAnswer {
  // A weak one: what compresses the answer afterwards leaves it as it is.
  const etag = head.etag ?? `W/"${createHash('sha256').update(body).digest('base64url').slice(0, 27)}"`
  return { ...head, body, etag }
}

/** A stored answer that its maker has confirmed by a 304; no longer worth being kept if that forbids it. */
export function confirmed(
  stored: CachedAnswer,
  { headers, before, hooked }: Made,
  origin: Origin,
  at: number,
): CachedAnswer {
  const updated = updatedFields(stored.headers, keptFields(headers, before, hooked))
  const cookies = ownCookies({ headers, before, hooked })
  if (cookies !== undefined && areForAll(cookies, stored.headers, origin)) updated['set-cookie'] = one(cookies)
  // The Age is that of the 304.
  const { age } = headers
  const terms = termsOf(
    stored.status,
    age === undefined ? updated : { ...updated, age },
    at,
    origin.route,
    origin.credentials,
  )
  const never: Terms = { ...stored.terms, freshFor: 0, staleFor: 0, staleOnErrorFor: 0, validate: true, keepFor: 0 }
  const vary = [...new Set([...stored.vary, ...dependencies(headers, before)])]
  return { ...stored, headers: updated, vary, at, terms: terms ?? never, failed: false }
}

/** Those that the handler has set, and no hook. */
export function ownCookies({ headers, before, hooked }: Omit<Made, 'status'>): string[] | undefined {
  const cookies = headers['set-cookie']
  if (cookies === undefined || before['set-cookie'] !== undefined || hooked.has('set-cookie')) return undefined
  return [cookies].flat().map(String)
}

/** As a header has it. */
const one = (values: string[]): string | string[] => (values.length === 1 ? (values[0] as string) : values)

/**
 * Whether cookies of an answer may be given to others. Hardly ever: only where the route says that its answers are for
 * all and the answer how long it lasts, to somebody who has not said who they are, and when none of them could tell two
 * people apart. (RFC 9111 §7.3 leaves it to the maker; frameworks that add a session to each answer do not think of
 * it.)
 */
function areForAll(cookies: readonly string[], headers: HeaderFields, origin: Origin): boolean {
  if (origin.route.ttl !== 'headers' || !origin.shared || origin.personal || !isExplicit(headers)) return false
  return cookies.every((cookie) => {
    const [, name = '', value = '', attributes = ''] = /^\s*([^=;]*)=([^;]*)(.*)$/.exec(cookie) ?? []
    const personal = soundsPersonal(name.toLowerCase()) || /sess|id$/i.test(name) || /;\s*httponly\b/i.test(attributes)
    return name !== '' && !personal && value.length <= IMPERSONAL_COOKIE
  })
}

/** One strong tag must not name two encodings: of an encoded answer that depends on what is accepted it is weak. */
function told(field: HeaderFields[string], headers: HeaderFields): string | undefined {
  if (field === undefined) return undefined
  const etag = `${field}`
  const negotiated = isEncoded(headers) && fieldNames(headers['vary']).includes('accept-encoding')
  return negotiated && !isWeak(etag) ? `W/${etag}` : etag
}

export const isWeak = (etag: string): boolean => etag.startsWith('W/')

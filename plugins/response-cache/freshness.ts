import type { HeaderFields } from './headers.ts'

/**
 * Directives of a `Cache-Control` by their names in lower case, each with all of its values; `''` where it has none.
 */
export type Directives = ReadonlyMap<string, readonly string[]>

/** What a route says of the time of its answers; ms. */
export interface RouteTerms {
  /** `'headers'`: only what the answer says of itself. */
  ttl: number | 'headers'
  stale: number
  staleIfError: number
}

/** For how long an answer may be used, and how; ms. */
export interface Terms {
  /** How old it was when it came. */
  age: number
  /** How old it may be. */
  freshFor: number
  /** How long after that it may be served while a new one is made. */
  staleFor: number
  /** The same when its making fails. */
  staleOnErrorFor: number
  /** Never served when it is stale, whatever the client says. */
  strict: boolean
  /** Only served after its maker has confirmed it. */
  validate: boolean
  /** For how long after its time it is worth being kept. */
  keepFor: number
}

/** What a request says of the age of the answer that it takes; ms. */
export interface Wishes {
  noStore: boolean
  /** The answer must come from its maker, or be confirmed by it. */
  validate: boolean
  maxAge: number
  minFresh: number
  maxStale: number
  onlyIfCached: boolean
}

/** Tell of the request or of a part, not of the resource: never kept (RFC 9110 §15). */
const OF_THE_REQUEST = new Set([206, 304, 401, 407, 408, 412, 413, 415, 416, 417, 421, 422, 425, 426, 428, 429, 431])
/** May be kept without an explicit time (RFC 9110 §15.1), partial answers aside. */
const HEURISTIC = new Set([200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501])
/** Whose meaning for a cache is known here, for `must-understand`. */
const UNDERSTOOD = new Set([...HEURISTIC, 302, 303, 307, 400, 403, 500, 502, 503, 504])
/** Longest time that is told apart from for ever, in seconds (RFC 9111 §1.2.2). */
const LONGEST = 2 ** 31
const HEURISTIC_SHARE = 0.1
const HEURISTIC_MOST = 86_400_000
/** For how long a stale answer is kept for the sake of its validators alone. */
const KEEP_TO_VALIDATE = 86_400_000

const DIRECTIVE = /\s*([^\s,="]+)(?:=(?:"((?:[^"\\]|\\.)*)"|([^\s,"]*)))?\s*(?:,|$)|\s*([^\s,="]*)[^,]*(?:,|$)/y

/** Reads `Cache-Control` (RFC 9111 §5.2): quoted values too. What is malformed is there, but has no number. */
export function directivesOf(field: string | readonly string[] | number | undefined): Directives {
  const text = fieldText(field)
  const found = new Map<string, string[]>()
  DIRECTIVE.lastIndex = 0
  while (DIRECTIVE.lastIndex < text.length) {
    const [, name, quoted, plain, malformed = ''] = DIRECTIVE.exec(text) ?? []
    const key = (name ?? malformed).toLowerCase()
    if (key !== '') found.set(key, [...(found.get(key) ?? []), quoted ?? plain ?? ''])
  }
  return found
}

/** Seconds of a directive; `undefined` without it, `NaN` when it is no number or contradicts itself. */
function seconds(directives: Directives, name: string): number | undefined {
  const values = directives.get(name)
  if (values === undefined) return undefined
  const [first = ''] = values
  if (!/^\d+$/.test(first) || values.some((value) => value !== first)) return Number.NaN
  return Math.min(Number(first), LONGEST)
}

const MONTHS = 'janfebmaraprmayjunjulaugsepoctnovdec'
const FIXDATE = /^[a-z]{3}, (\d{2}) ([a-z]{3}) (\d{4}) (\d{2}):(\d{2}):(\d{2}) gmt$/i
const RFC850 = /^[a-z]{6,9}, (\d{2})-([a-z]{3})-(\d{2}) (\d{2}):(\d{2}):(\d{2}) gmt$/i
const ASCTIME = /^[a-z]{3} ([a-z]{3}) ([ \d]\d) (\d{2}):(\d{2}):(\d{2}) (\d{4})$/i

/** Milliseconds of a date in one of the three forms of RFC 9110 §5.6.7, `NaN` for anything else. */
export function dateOf(field: string | readonly string[] | number | undefined, now: number): number {
  const text = fieldText(field)
  const asc = ASCTIME.exec(text)
  if (asc) return utc(asc[6], asc[1], asc[2], asc.slice(3, 6))
  const fix = FIXDATE.exec(text)
  if (fix) return utc(fix[3], fix[2], fix[1], fix.slice(4))
  const old = RFC850.exec(text)
  if (!old) return Number.NaN
  const thisYear = new Date(now).getUTCFullYear()
  const year = thisYear - (thisYear % 100) + Number(old[3])
  // More than fifty years ahead is meant to be past.
  return utc(`${year > thisYear + 50 ? year - 100 : year}`, old[2], old[1], old.slice(4))
}

function utc(year = '', month = '', day = '', time: readonly string[] = []): number {
  const at = MONTHS.indexOf(month.toLowerCase())
  if (at < 0 || at % 3 !== 0) return Number.NaN
  const [hours, minutes, second] = time.map(Number)
  return Date.UTC(Number(year), at / 3, Number(day), hours, minutes, second)
}

/** How old an answer was when it came (RFC 9111 §4.2.3); older than any when it says so in no valid form. */
export function ageOf(headers: HeaderFields, at: number): number {
  const date = dateOf(headers['date'], at)
  const apparent = Number.isNaN(date) ? 0 : Math.max(0, at - date)
  if (headers['age'] === undefined) return apparent
  const told = fieldText(headers['age']).trim()
  // Several, or none: its age is unknown.
  if (!/^\d+$/.test(told)) return 2 * LONGEST * 1_000
  return Math.max(apparent, Math.min(Number(told), LONGEST) * 1_000)
}

/**
 * For how long an answer may be used (RFC 9111 §3, §4.2; RFC 5861), or `undefined` when it must not be kept. What the
 * answer says of itself restricts what the route says.
 *
 * @param at when it came
 * @param credentials whether its request had an `Authorization` that the key does not hold
 */
export function termsOf(
  status: number,
  headers: HeaderFields,
  at: number,
  route: RouteTerms,
  credentials: boolean,
): Terms | undefined {
  const directives = directivesOf(headers['cache-control'])
  if (status < 200 || OF_THE_REQUEST.has(status)) return undefined
  if (directives.has('no-store') || directives.has('private')) return undefined
  if (directives.has('must-understand') && !UNDERSTOOD.has(status)) return undefined
  const forAll = ['public', 'must-revalidate', 's-maxage'].some((name) => directives.has(name))
  if (credentials && route.ttl === 'headers' && !forAll) return undefined

  const explicit = explicitLifetime(headers, directives, at)
  const lifetime = lifetimeOf(status, headers, directives, at, route.ttl, explicit)
  if (lifetime === undefined) return undefined
  const age = ageOf(headers, at)
  const pragma = directives.size === 0 && /\bno-cache\b/i.test(fieldText(headers['pragma']))
  const validate = (directives.get('no-cache')?.includes('') ?? false) || pragma || lifetime <= age
  const forbidden = ['must-revalidate', 'proxy-revalidate', 'no-cache'].some((name) => directives.has(name))
  const strict = forbidden || directives.has('s-maxage')
  const staleFor = allowance(directives, 'stale-while-revalidate', forbidden, strict ? 0 : route.stale)
  const onError = strict ? 0 : Math.max(route.staleIfError, route.stale)
  const staleOnErrorFor = allowance(directives, 'stale-if-error', forbidden, onError)

  const keeps = route.ttl === 'headers' || route.stale > 0 || route.staleIfError > 0
  const validator = headers['etag'] !== undefined || headers['last-modified'] !== undefined
  // A cache that has to ask the handler each time needs a validator to ask with.
  if (validate && !(keeps && validator)) return undefined
  const keepFor = Math.max(staleFor, staleOnErrorFor, keeps && validator ? KEEP_TO_VALIDATE : 0)
  return { age, freshFor: lifetime, staleFor, staleOnErrorFor, strict, validate, keepFor }
}

function allowance(directives: Directives, name: string, forbidden: boolean, byRoute: number): number {
  if (forbidden) return 0
  const told = seconds(directives, name)
  return told === undefined ? byRoute : (told || 0) * 1_000
}

/** Whether the answer says how long it is fresh, for a cache that many share. */
export function isExplicit(headers: HeaderFields): boolean {
  return explicitLifetime(headers, directivesOf(headers['cache-control']), 0) !== undefined
}

function explicitLifetime(headers: HeaderFields, directives: Directives, at: number): number | undefined {
  const told = seconds(directives, 's-maxage') ?? seconds(directives, 'max-age')
  if (told !== undefined) return (told || 0) * 1_000
  if (headers['expires'] === undefined) return undefined
  const expires = dateOf(headers['expires'], at)
  const date = dateOf(headers['date'], at)
  return Number.isNaN(expires) ? 0 : Math.max(0, expires - (Number.isNaN(date) ? at : date))
}

function lifetimeOf(
  status: number,
  headers: HeaderFields,
  directives: Directives,
  at: number,
  ttl: RouteTerms['ttl'],
  explicit: number | undefined,
): number | undefined {
  if (ttl !== 'headers') {
    // Only a success is what the route has promised; others have to say for themselves that they last.
    if (explicit === undefined) return status === 200 ? ttl : undefined
    return Math.min(explicit, ttl)
  }
  if (explicit !== undefined) return explicit
  if (!HEURISTIC.has(status) && !directives.has('public')) return undefined
  const modified = dateOf(headers['last-modified'], at)
  const date = dateOf(headers['date'], at)
  const since = (Number.isNaN(date) ? at : date) - modified
  return since > 0 ? Math.min(since * HEURISTIC_SHARE, HEURISTIC_MOST) : 0
}

/** What the client asks for (RFC 9111 §5.2.1). `Pragma` counts where there is no `Cache-Control`. */
export function wishesOf(headers: Record<string, string | string[] | undefined>): Wishes {
  const field = headers['cache-control']
  const directives = directivesOf(field)
  const within = (name: string, otherwise: number) => {
    const told = seconds(directives, name)
    return told === undefined || Number.isNaN(told) ? otherwise : told * 1_000
  }
  const anyAge = directives.get('max-stale')?.[0] === ''
  return {
    noStore: directives.has('no-store'),
    validate: directives.has('no-cache') || (field === undefined && /\bno-cache\b/i.test(fieldText(headers['pragma']))),
    maxAge: within('max-age', Number.POSITIVE_INFINITY),
    minFresh: within('min-fresh', 0),
    maxStale: anyAge ? Number.POSITIVE_INFINITY : within('max-stale', 0),
    onlyIfCached: directives.has('only-if-cached'),
  }
}

/** How old an answer is, in ms. */
export const ageAt = (answer: { at: number; terms: Terms }, now: number): number =>
  Math.max(0, now - answer.at) + answer.terms.age

/** For how long an answer is still fresh, in ms; less than 0 for how long it has been stale. */
export const leftAt = (answer: { at: number; terms: Terms }, now: number): number =>
  answer.terms.freshFor - ageAt(answer, now)

/**
 * - `serve`: as it is.
 * - `renew`: may be served while a new one is made.
 * - `expired`: has to be made again.
 * - `validate`: this request wants it from its maker, or the answer wants that of every request.
 */
export type Verdict = 'serve' | 'renew' | 'expired' | 'validate'

export function judge(answer: { at: number; terms: Terms; failed: boolean }, wishes: Wishes, now: number): Verdict {
  const { terms, failed } = answer
  if (terms.validate || wishes.validate) return 'validate'
  // Ages are told in whole seconds; an answer of this second is new.
  if (Math.floor(ageAt(answer, now) / 1_000) * 1_000 > wishes.maxAge) return 'validate'
  const left = leftAt(answer, now)
  if (left > 0) return left >= wishes.minFresh ? 'serve' : 'validate'
  if (acceptsStale(answer, wishes, now)) return 'serve'
  if (failed && -left <= terms.staleOnErrorFor) return 'serve'
  return -left <= terms.staleFor ? 'renew' : 'expired'
}

/** Whether the client takes an answer that is stale as it is. */
export function acceptsStale(answer: { at: number; terms: Terms }, { maxStale }: Wishes, now: number): boolean {
  const left = leftAt(answer, now)
  return left <= 0 && !answer.terms.strict && -left <= maxStale
}

/** Whether a stored answer may be served because no new one could be made (RFC 5861 §4). */
export function mayStandIn(answer: { at: number; terms: Terms }, now: number): boolean {
  const { staleOnErrorFor } = answer.terms
  return staleOnErrorFor > 0 && -leftAt(answer, now) <= staleOnErrorFor
}

const fieldText = (field: string | readonly string[] | number | undefined): string =>
  typeof field === 'object' ? field.join(', ') : `${field ?? ''}`

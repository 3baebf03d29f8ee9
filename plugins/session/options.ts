import type { FastifySessionOptions } from '@fastify/session'
import type { Clock } from '../support/clock.ts'
import type { Duration } from '../support/durations.ts'
import {
  asGiven,
  choice,
  clock,
  duration,
  flag,
  invalidOption,
  type Read,
  type Rules,
  supplied,
  text,
  texts,
  wholeNumber,
} from '../support/options.ts'
import type { AdoptOptions } from './compat/adopt.ts'
import { COOKIE_RULES, type SessionCookieOptions } from './request/cookie.ts'
import type { IdentityOption } from './request/identity.ts'
import type { SessionSigner } from './request/signer.ts'
import type { CallbackStore } from './stores/callback.ts'
import type { SessionStore } from './stores/contract.ts'
import type { SessionPolicy } from './types.ts'

/** @fastify/session's options beside ours; what differs from it is in docs/sessions.md. */
export interface SessionOptions extends Omit<FastifySessionOptions, 'secret' | 'store' | 'cookie'> {
  /**
   * Signs the cookie: one or more of at least 32 characters, or a signer. The first signs, all verify. The array
   * may be changed while the server runs. Required: the type has `undefined` for the sake of `process.env`, and a
   * variable that is not set ends the boot.
   */
  secret: string | string[] | SessionSigner | undefined
  /**
   * Keeps these sessions apart from those of other registrations on the same storage: an application with a shop and a
   * back office registers the plugin once in the scope of each. 1 to 32 of `a-z`, `0-9` and `-`. Default: none.
   */
  name?: string
  /**
   * Who a session belongs to: what decides fixation protection, the list of a user's sessions, and who is logged in.
   * Default: `session.user` or @fastify/passport's user, if it is text or a number, else its `id` or `_id`.
   */
  user?: IdentityOption
  /** `Secure` cookies and the name prefix `__Host-`. Default: whether `NODE_ENV` is set to anything but
   * `development` and `test`. */
  production?: boolean
  /** Default `sid`, or `<name>-sid` with the option `name`; before it `__Host-` when the cookie is secure. */
  cookieName?: string
  /** Attributes; defaults `path: '/'`, `httpOnly`, `sameSite: 'lax'`, `maxAge: '24h'`. */
  cookie?: SessionCookieOptions
  /**
   * A session ends when it was not used for so long. Default `'30m'`, or `cookie.maxAge` if that is given and longer.
   */
  idle?: Duration
  /** A session ends so long after the login, however much it is used. Default `'12h'`, or `idle` if that is longer. */
  absolute?: Duration
  /** How exactly uses are recorded: at most one write in this time. Default a tenth of `idle`, at most `'1m'`. */
  touch?: Duration
  /** How many sessions a user may have at a time. Default: any number. */
  maxSessions?: number
  /** What a login beyond `maxSessions` does: `evict` ends the least recently used. Default `evict`. */
  onLimit?: 'evict' | 'refuse'
  /** How often expired sessions are removed. Default `'1m'`. */
  sweep?: Duration
  /**
   * Ours, or one made for express-session or @fastify/session, with the guarantees that its contract allows (see
   * docs/sessions.md). Default: by `app.storage`; without that plugin, in the memory of this process.
   */
  store?: SessionStore | CallbackStore
  /** Takes over live sessions of @fastify/session or express-session at their next request. Default: none. */
  adopt?: AdoptOptions
  /** Default `false`: nothing is stored and no cookie set until a request puts something into its session. */
  saveUninitialized?: boolean
  /**
   * Whether what a handler changed is kept when it fails. What the error handler changes, and every explicit `save()`,
   * is kept either way. Default `false`.
   */
  saveOnError?: boolean
  /** Default `false`: the cookie is sent when it is new or a use is recorded, not with each response. */
  rolling?: boolean
  /**
   * Encrypts what the store keeps of a session (AES-256-GCM), the user's id included: one or more secrets of at
   * least 32 characters, of which the first encrypts and all decrypt. Sessions from before it was set, or of a
   * secret that is gone, are no sessions any more. Default: not encrypted.
   */
  encryption?: string | string[]
  /** How long a `store` of yours may take to answer; the built-in ones keep a deadline. Default `'1s'`. */
  deadline?: Duration
  /** What a logout lets the browser clear (`Clear-Site-Data`). Default `['cache', 'storage']`; `[]` sends nothing. */
  clearSiteData?: ('cache' | 'cookies' | 'storage')[]
  /**
   * What a Redis that may evict sessions under memory pressure (`maxmemory-policy` other than `noeviction`) does to
   * the boot. Default `refuse`.
   */
  onEviction?: 'refuse' | 'warn'
  /**
   * Other names for the methods of the request, or `false` for none. By default each has its own name, unless the
   * application or another plugin (@fastify/passport) has a decorator of that name: that one stands.
   */
  decorators?: DecoratorNames
  clock?: Clock
}

/** Names for the request's methods, where ours are taken. */
export interface DecoratorNames {
  /** Default `login`. */
  login?: string | false
  /** Default `logout`. */
  logout?: string | false
  /** Default `requireFresh`. */
  requireFresh?: string | false
}

const nameOrNone = (given: unknown, option: string): string | false | undefined =>
  given === false ? false : text(undefined)(given, option)

/** The option `name`. */
export const area = (given: unknown, option: string): string => {
  const name = text('')(given, option)
  if (name !== '' && !/^[a-z0-9-]{1,32}$/.test(name))
    throw invalidOption(option, "must be 1 to 32 of 'a-z', '0-9', '-'.")
  return name
}

/** What each option must be, and what holds without it. */
export const SESSION_RULES = {
  // Checked once it is known whether this is production.
  secret: asGiven<SessionOptions['secret']>(),
  encryption: asGiven<SessionOptions['encryption']>(),
  name: area,
  user: supplied<IdentityOption>(),
  production: flag(undefined),
  cookieName: text(undefined),
  cookiePrefix: text(''),
  cookie: COOKIE_RULES,
  algorithm: text(undefined),
  idGenerator: supplied<NonNullable<SessionOptions['idGenerator']>>(),
  idle: duration(undefined),
  absolute: duration(undefined),
  touch: duration(undefined, { least: 0 }),
  maxSessions: wholeNumber(undefined),
  onLimit: choice(['evict', 'refuse'], 'evict'),
  sweep: duration('1m'),
  store: supplied<SessionStore | CallbackStore>(),
  adopt: supplied<AdoptOptions>(),
  saveUninitialized: flag(false),
  saveOnError: flag(false),
  rolling: flag(false),
  deadline: duration('1s'),
  clearSiteData: texts(['cache', 'storage']),
  onEviction: choice(['refuse', 'warn'], 'refuse'),
  decorators: { login: nameOrNone, logout: nameOrNone, requireFresh: nameOrNone },
  clock,
} satisfies Rules<SessionOptions>

export type ReadSessionOptions = Read<typeof SESSION_RULES>

const DEFAULT_IDLE = 30 * 60_000
const DEFAULT_ABSOLUTE = 12 * 60 * 60_000
const MOST_TOUCH = 60_000

/**
 * How long sessions last. What the application asked for is not shortened by what it left out: a `cookie.maxAge` of two
 * weeks lets a session go unused for two weeks, unless `idle` says otherwise.
 *
 * @param warn told of options that contradict each other
 */
export function policyOf(
  { idle: givenIdle, absolute: givenAbsolute, touch, cookie, maxSessions, onLimit }: ReadSessionOptions,
  warn: (message: string) => void,
): SessionPolicy {
  const cookieAge = cookie.maxAge ?? 0
  const idle = givenIdle ?? Math.max(DEFAULT_IDLE, cookieAge)
  const absolute = givenAbsolute ?? Math.max(DEFAULT_ABSOLUTE, idle)
  const ends = Math.min(idle, absolute)
  if (cookieAge > ends) {
    const which = idle <= absolute ? 'idle' : 'absolute'
    warn(
      `session.cookie.maxAge keeps the cookie for ${seconds(cookieAge)}, but the session ends after ${seconds(ends)} ` +
        `by session.${which}. For a longer login of some users, use login(user, { lifetime }).`,
    )
  }
  const policy = { idle, absolute, touch: touch ?? Math.min(idle / 10, MOST_TOUCH) }
  if (policy.touch >= idle) {
    throw invalidOption('session.touch', 'must be shorter than idle: a session in use would expire.')
  }
  return maxSessions === undefined ? policy : { ...policy, limit: { sessions: maxSessions, action: onLimit } }
}

const seconds = (ms: number) => `${Math.round(ms / 1_000)} s`

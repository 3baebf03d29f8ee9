import type { FastifyRequest } from 'fastify'
import { userOf } from '../session/user.ts'
import { ForbiddenError, UnauthenticatedError } from '../support/errors.ts'
import { type Rules, supplied } from '../support/options.ts'

/** All that a question can name. */
interface Named {
  /** State space or cache namespace, also when it is the default one (`app`, `default`). */
  space: string
  /** This very key. */
  key: string
  /** Every key that begins with this, now and later; `''`: all of the space. */
  prefix: string
  /** The user that a session or an account belongs to. */
  userId: string
  /** A live connection. */
  node: string
  /** A write-behind handler, with all that waits for it. */
  writer: string
  /** This instance, or all that share its storage. */
  scope: 'instance' | 'cluster'
  page: 'docs' | 'dashboard'
}

/** Names these and nothing else. */
type Only<Names extends keyof Named> = Pick<Named, Names> & { [Other in Exclude<keyof Named, Names>]?: never }

/** One key, or all that begin with a prefix. Who may read a key may not therefore read what begins like it. */
export type Keys = Only<'space' | 'key'> | Only<'space' | 'prefix'>

/** What each action is asked about. */
export interface Resources {
  'state:read': Keys
  'state:write': Keys
  'cache:read': Keys
  'cache:write': Keys | Only<'writer'>
  'sync:read': Keys
  'sync:write': Keys
  'sync:administer': Only<'node'> | Only<'scope'>
  'stats:read': Only<'scope'>
  'stats:reset': Only<'scope'>
  'users:read': Only<'userId'>
  'users:write': Only<'userId'>
  'sessions:administer': Only<'userId'>
  'docs:read': Only<'page'>
  'dashboard:read': Only<'page'>
}

/** What a request wants to do. Reading needs a session; everything else needs the role `administrator`. */
export type Action = keyof Resources

/**
 * What it wants to do it to. A question always names something: a rule that looks at `space`, `key` or `userId` is
 * never asked about nothing.
 */
export type Resource = Resources[Action]

/**
 * Decides instead of the default. `false` answers 403 (401 without a session).
 *
 * Asked before the input is validated, for each key that a request names; also for each subscription and each key that
 * is written on a WebSocket, with the upgrade request. An upgrade that names no space wants nothing yet: it is not
 * asked about.
 *
 * @example
 * ```ts
 * // Everybody reads what begins with `public:`, and users their own key.
 * const authorize: Authorize = ({ session }, action, { space, key, prefix }) =>
 *   action === 'state:read' &&
 *   space === 'app' &&
 *   ((key ?? prefix ?? '').startsWith('public:') || key === `user:${session.user?.id}`)
 * ```
 */
export type Authorize = (request: FastifyRequest, action: Action, resource: Resource) => boolean | Promise<boolean>

export interface AuthorizeOption {
  /** Default: see {@link authorizeByRole}. */
  authorize?: Authorize
}

export const AUTHORIZE_RULES = { authorize: supplied<Authorize>() } satisfies Rules<AuthorizeOption>

const FOR_EVERY_SESSION: ReadonlySet<Action> = new Set(['state:read', 'cache:read', 'sync:read', 'users:read'])

/** Every session may read; a user may change what is theirs; the role `administrator` may do everything. */
export const authorizeByRole: Authorize = (request, action, resource) => {
  const user = userOf(request)
  if (!user) return false
  if (user.role === 'administrator' || FOR_EVERY_SESSION.has(action)) return true
  return action === 'users:write' && resource.userId === user.id
}

/**
 * @throws STATEFUL_UNAUTHENTICATED without a session, STATEFUL_FORBIDDEN with one that may not
 */
export async function demand<A extends Action>(
  authorize: Authorize | undefined,
  request: FastifyRequest,
  action: A,
  resource: Resources[A],
): Promise<void> {
  if (await (authorize ?? authorizeByRole)(request, action, resource)) return
  if (!userOf(request)) throw new UnauthenticatedError()
  throw new ForbiddenError(action)
}

/** The part of a space that a request wants. With a key, a prefix beside it means nothing. */
export function keysOf(space: string, { key, prefix }: { key?: unknown; prefix?: unknown }): Keys {
  // Asked before validation, so they may be anything; what is no text is refused there, whatever the answer here.
  if (typeof key === 'string') return { space, key }
  return { space, prefix: typeof prefix === 'string' ? prefix : '' }
}

/** A text out of input that is not validated yet. */
export function textOr(value: unknown, byDefault: string): string {
  return typeof value === 'string' ? value : byDefault
}

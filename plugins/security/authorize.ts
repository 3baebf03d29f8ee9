import type { FastifyRequest } from 'fastify'
import { userOf } from '../session/user.ts'
import { ForbiddenError, MissingScopeError, UnauthenticatedError } from '../support/errors.ts'
import { invalidOption, type Rules, supplied } from '../support/options.ts'
import { ACTIONS, type Action, isAction, type Keys, type Resource, type Resources, roleMay } from './access.ts'
import { presentedToken } from './client.ts'

/**
 * Decides instead of the default. `false` answers 403 (401 to who has no session); the answer names the action.
 *
 * Asked before the input is validated, for each key that a request names; also for each subscription, each presence and
 * each key that is written on a WebSocket, with the upgrade request. An upgrade that names no space wants nothing yet:
 * it is not asked about. Of a request with an access token it is asked after the token's scopes, which allow less than
 * it, never more; `request.accessToken` is that token.
 *
 * {@link accessRules} makes one out of a rule for each action, whose resource then has its own type.
 *
 * @example
 * ```ts
 * // Everybody reads what begins with `public:`, and users their own key.
 * const authorize: Authorize = ({ session }, action, { space, key, prefix }) =>
 *   (action === 'state:read' || action === 'sync:read') &&
 *   space === 'app' &&
 *   ((key ?? prefix ?? '').startsWith('public:') || key === `user:${session.user?.id}`)
 * ```
 */
export type Authorize = (request: FastifyRequest, action: Action, resource: Resource) => boolean | Promise<boolean>

/** The option by which an application decides who may do what. */
export interface AuthorizeOption {
  /** Default: see {@link authorizeByRole}. */
  authorize?: Authorize
}

export const AUTHORIZE_RULES = { authorize: supplied<Authorize>() } satisfies Rules<AuthorizeOption>

/**
 * The default. A session may do what {@link ACTIONS} allows to every session, and to its own user what is theirs; the
 * role `observer` may see what administrators see; the role `administrator` may do everything. A machine may do what
 * its token's scopes name.
 */
export const authorizeByRole: Authorize = (request, action, resource) => {
  if (presentedToken(request)) return true
  const user = userOf(request)
  if (!user) return false
  if (roleMay(user.role, action)) return true
  return ACTIONS[action].allowed === 'owner' && resource.userId === user.id
}

/** A rule for each action that is not to be decided as by default. */
export type AccessRules = {
  [A in Action]?: (request: FastifyRequest, resource: Resources[A]) => boolean | Promise<boolean>
} & {
  /** Decides about every other action. Default {@link authorizeByRole}. */
  otherwise?: Authorize
}

/**
 * An `authorize` out of rules by action, each of which gets the resource that its action comes with.
 *
 * @example
 * ```ts
 * await app.register(stateRoutes, {
 *   authorize: accessRules({
 *     // The type of `key` is text here: this action is never asked about a prefix.
 *     'state:read': ({ session }, { key }) => key === `user:${session.user?.id}`,
 *     'state:snapshot': () => false,
 *   }),
 * })
 * ```
 * @throws STATEFUL_INVALID_OPTION for a name that is no action
 */
export function accessRules({ otherwise = authorizeByRole, ...rules }: AccessRules): Authorize {
  for (const name of Object.keys(rules)) {
    if (!isAction(name)) throw invalidOption(`accessRules.${name}`, 'is no action; docs/access.md lists them.')
  }
  const byAction = new Map(Object.entries(rules)) as ReadonlyMap<Action, AccessRules['state:read']>
  return (request, action, resource) => {
    const rule = byAction.get(action)
    return rule ? rule(request, resource as never) : otherwise(request, action, resource)
  }
}

/** Something that a request was allowed to do, and to what. */
export interface Granted {
  action: Action
  /** Of many, the first ten. */
  resources: Resource[]
}

const MAX_RESOURCES = 10

const granted = new WeakMap<FastifyRequest, Map<Action, Granted>>()

/** All that `demand` has allowed to the request so far. */
export function grantedTo(request: FastifyRequest): Iterable<Granted> {
  return granted.get(request)?.values() ?? []
}

/** What is only shown is not remembered: most requests want nothing else. */
function remember(request: FastifyRequest, action: Action, resource: Resource): void {
  if (ACTIONS[action].allowed !== 'administrator') return
  const actions = granted.get(request) ?? new Map<Action, Granted>()
  granted.set(request, actions)
  const known = actions.get(action)
  if (!known) actions.set(action, { action, resources: [resource] })
  else if (known.resources.length < MAX_RESOURCES && !known.resources.some((one) => isSame(one, resource))) {
    known.resources.push(resource)
  }
}

/** Asked before and after validation about the same. */
function isSame(one: Resource, other: Resource): boolean {
  const names = new Set([...Object.keys(one), ...Object.keys(other)]) as Set<keyof Resource>
  return [...names].every((name) => one[name] === other[name])
}

/**
 * Lets a request go on only if it may do this. A refusal names the action.
 *
 * @throws STATEFUL_UNAUTHENTICATED without a session, STATEFUL_FORBIDDEN with one that may not,
 * STATEFUL_MISSING_SCOPE with a token that lacks the scope; STATEFUL_INVALID_TOKEN and STATEFUL_TOO_MANY_ATTEMPTS with
 * one that is none
 */
export async function demand<A extends Action>(
  authorize: Authorize | undefined,
  request: FastifyRequest,
  action: A,
  resource: Resources[A],
): Promise<void> {
  const token = await verifiedToken(request)
  if (token && !token.scopes.includes(action)) throw refusal(new MissingScopeError(action), action)
  if (await (authorize ?? authorizeByRole)(request, action, resource)) return remember(request, action, resource)
  if (!token && !userOf(request)) throw refusal(new UnauthenticatedError(), action)
  throw refusal(new ForbiddenError(action), action)
}

/** What is read of `app.accessTokens`, which need not be there. */
interface TokenLookup {
  verify(request: FastifyRequest): Promise<{ id: string; scopes: readonly Action[] } | undefined>
}

/**
 * The access token that the request came with; `undefined` without one.
 * @throws STATEFUL_INVALID_TOKEN, STATEFUL_TOO_MANY_ATTEMPTS, STATEFUL_STORAGE_UNAVAILABLE
 */
export async function verifiedToken(request: FastifyRequest) {
  const { server } = request
  // Asked of rules without a server, in tests of an application.
  if (!server?.hasDecorator('accessTokens')) return undefined
  return server.getDecorator<TokenLookup>('accessTokens').verify(request)
}

/** An error that tells which action was refused: problems and frames have it as `action`. */
function refusal(error: Error, action: Action): Error & { action: Action } {
  return Object.assign(error, { action })
}

/** The part of a space that a subscription wants. With a key, a prefix beside it means nothing. */
export function keysOf(space: string, { key, prefix }: { key?: unknown; prefix?: unknown }): Keys {
  // Asked before validation, so they may be anything; what is no text is refused there, whatever the answer here.
  if (typeof key === 'string') return { space, key }
  return { space, prefix: textOr(prefix, '') }
}

/** A text out of input that is not validated yet. */
export function textOr(value: unknown, byDefault: string): string {
  return typeof value === 'string' ? value : byDefault
}

import type { FastifyRequest } from 'fastify'
import type {} from '../session/session-data.ts'
import { ForbiddenError, UnauthenticatedError } from '../support/errors.ts'

/** What a request wants to do. Reading needs a session; everything else needs the role `administrator`. */
export type Action =
  | 'state:read'
  | 'state:write'
  | 'cache:read'
  | 'cache:write'
  | 'sync:read'
  | 'sync:write'
  | 'sync:administer'
  | 'stats:read'
  | 'stats:reset'
  | 'users:read'
  | 'users:write'
  | 'sessions:administer'
  | 'docs:read'
  | 'dashboard:read'

/** What it wants to do it to. */
export interface Resource {
  /** State space or cache namespace. */
  space?: string
  key?: string
  /** The user that a session or an account belongs to. */
  userId?: string
}

/**
 * Decides instead of the default. `false` answers 403 (401 without a session).
 * Also asked for each subscription and write on a WebSocket, with the upgrade request.
 */
export type Authorize = (request: FastifyRequest, action: Action, resource: Resource) => boolean | Promise<boolean>

export interface AuthorizeOption {
  /** Default: see {@link authorizeByRole}. */
  authorize?: Authorize
}

const FOR_EVERY_SESSION: ReadonlySet<Action> = new Set(['state:read', 'cache:read', 'sync:read', 'users:read'])

/** Every session may read; a user may change what is theirs; the role `administrator` may do everything. */
export const authorizeByRole: Authorize = (request, action, resource) => {
  const user = request.session?.user
  if (!user) return false
  if (user.role === 'administrator' || FOR_EVERY_SESSION.has(action)) return true
  return action === 'users:write' && resource.userId === user.id
}

/**
 * @throws STATEFUL_UNAUTHENTICATED without a session, STATEFUL_FORBIDDEN with one that may not
 */
export async function demand(
  authorize: Authorize | undefined,
  request: FastifyRequest,
  action: Action,
  resource: Resource = {},
): Promise<void> {
  if (await (authorize ?? authorizeByRole)(request, action, resource)) return
  if (!request.session?.user) throw new UnauthenticatedError()
  throw new ForbiddenError(action)
}

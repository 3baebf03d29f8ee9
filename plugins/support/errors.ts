/**
 * Every error that this package throws, one class a cause, grouped by service.
 * Codes are stable and documented in docs/errors.md; the message says what happened and what to do.
 */
import createError from '@fastify/error'

// --- options and boot -------------------------------------------------------------------------
export const InvalidDurationError = createError(
  'STATEFUL_INVALID_DURATION',
  "Option '%s' is %s, which is no duration. Use milliseconds or a string such as '5m'.",
  500,
)
export const InvalidOptionError = createError('STATEFUL_INVALID_OPTION', "Option '%s' %s", 500)
export const InvalidConfigurationError = createError('STATEFUL_INVALID_CONFIGURATION', 'Configuration: %s', 500)

// --- storage ----------------------------------------------------------------------------------
export const UnknownStorageError = createError(
  'STATEFUL_UNKNOWN_STORAGE',
  "Storage '%s' is not known. Use 'memory:', 'lmdb:<folder>', 'redis://host:port' or 'rediss://host:port'.",
  500,
)
/** Boot only: the folder belongs to another live process. */
export const StorageOwnedError = createError(
  'STATEFUL_STORAGE_OWNED',
  "The data folder '%s' is in use by another process. Stop that process, choose another folder, or use Redis for several instances.",
  500,
)
/** Boot: Redis did not answer. At run time: a command failed or exceeded its deadline. */
export const StorageUnavailableError = createError(
  'STATEFUL_STORAGE_UNAVAILABLE',
  'The storage did not answer (%s). Check that it runs and is reachable, then try again.',
  503,
)

// --- HTTP -------------------------------------------------------------------------------------
export const UnauthenticatedError = createError(
  'STATEFUL_UNAUTHENTICATED',
  'This needs a session. Log in with POST /login and send the cookie that it sets.',
  401,
)
export const ForbiddenError = createError('STATEFUL_FORBIDDEN', "Your role does not allow '%s'.", 403)
export const NotFoundError = createError('STATEFUL_NOT_FOUND', 'There is no %s.', 404)

// --- health -----------------------------------------------------------------------------------
export const ClosingError = createError(
  'STATEFUL_CLOSING',
  'The process is closing and takes no new work. Another instance, or a retry after the restart, will serve it.',
  503,
)
export const OverloadedError = createError(
  'STATEFUL_OVERLOADED',
  'The process is overloaded and takes no new work for a moment.',
  503,
)

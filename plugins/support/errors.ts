/**
 * Every error that this package throws, one class a cause, grouped by service.
 * Codes are stable and documented in docs/errors.md; the message says what happened and what to do.
 */
import createError from '@fastify/error'
import { StatefulError } from './stateful-error.ts'

const define = <Code extends string, Status extends number>(code: Code, message: string, statusCode: Status) =>
  // It is only ever a prototype there: its constructor does not run.
  createError<Code, Status>(code, message, statusCode, StatefulError as unknown as ErrorConstructor)

// --- options and boot -------------------------------------------------------------------------
export const InvalidDurationError = define(
  'STATEFUL_INVALID_DURATION',
  "Option '%s' is %s, which is no duration up to a hundred years. Use milliseconds or a string such as '5m'.",
  500,
)
/** Made by `invalidOption` and `refuseUnknown` of options.ts, which word it. */
export const InvalidOptionError = define('STATEFUL_INVALID_OPTION', '%s', 500)
export const MissingPackageError = define(
  'STATEFUL_MISSING_PACKAGE',
  'The plugin %s needs a package that is not installed. Run: npm install %s',
  500,
)
/** Boot only: the application calls something by a name that is ours. */
export const NameClashError = define(
  'STATEFUL_NAME_CLASH',
  "The application's %s has the name of %s. Rename yours: in one document, and for one reference, they would be the same.",
  500,
)
export const InvalidConfigurationError = define('STATEFUL_INVALID_CONFIGURATION', 'Configuration: %s', 500)

// --- storage ----------------------------------------------------------------------------------
export const UnknownStorageError = define(
  'STATEFUL_UNKNOWN_STORAGE',
  "Storage '%s' is not known. Use 'memory:', 'lmdb:<folder>', 'redis://host:port' or 'rediss://host:port'.",
  500,
)
/** Boot only: the folder belongs to another process, or to another application or worker thread of this one. */
export const StorageOwnedError = define(
  'STATEFUL_STORAGE_OWNED',
  "The data folder '%s' is in use: another process, worker thread or app of this process owns it. End that one, choose another folder, or use Redis for several instances.",
  500,
)
/**
 * Boot: the storage named in the message did not answer. At run time: a command failed or exceeded its deadline; the
 * message then says for what it was and nothing of where and why, since a host without our error handler sends it to
 * the client. What the driver said is the `cause`, which the log has.
 */
export const StorageUnavailableError = define(
  'STATEFUL_STORAGE_UNAVAILABLE',
  'The storage did not answer (%s). Check that it runs and is reachable, then try again.',
  503,
)
/** Found while reading: what is there is not what was written. */
export const StorageCorruptError = define('STATEFUL_STORAGE_CORRUPT', 'The storage is damaged (%s). %s', 500)
/** Boot only: the data file could not be looked at, which says nothing about what is in it. */
export const StorageUncheckedError = define(
  'STATEFUL_STORAGE_UNCHECKED',
  "The data file '%s' could not be checked (%s). Nothing was changed. Remove the cause and start again.",
  500,
)
/** Boot only: damage was found, and what is sound could not be brought to safety. */
export const StorageNotSalvagedError = define(
  'STATEFUL_STORAGE_NOT_SALVAGED',
  "The data file '%s' is damaged (%s) and was not salvaged: %s. Nothing was changed. Make room on the disk, or raise `recoveryTimeout` and Fastify's `pluginTimeout`, and start again.",
  500,
)
/** A backup was not made; those that are there are kept. */
export const BackupFailedError = define(
  'STATEFUL_BACKUP_FAILED',
  'The backup of the storage was not made (%s). The earlier ones are kept. Remove the cause; it is tried again later.',
  500,
)
/** Nothing was written. Reading and deleting still work. */
export const StorageFullError = define(
  'STATEFUL_STORAGE_FULL',
  'The storage is full (%s). Free some space or raise its limit; deleting still works.',
  507,
)

// --- HTTP -------------------------------------------------------------------------------------
export const UnauthenticatedError = define(
  'STATEFUL_UNAUTHENTICATED',
  'This needs a session. Log in, and send the cookie that the login sets.',
  401,
)
export const ForbiddenError = define('STATEFUL_FORBIDDEN', "You are not allowed to do this: '%s'.", 403)
export const MissingScopeError = define(
  'STATEFUL_MISSING_SCOPE',
  "The access token does not have the scope '%s'. Make one that has it.",
  403,
)
export const InvalidTokenError = define(
  'STATEFUL_INVALID_TOKEN',
  'The access token is unknown, revoked or expired. Ask an administrator for a new one.',
  401,
)
export const TooManyTokensError = define(
  'STATEFUL_TOO_MANY_TOKENS',
  'There are %s access tokens already, as many as there may be. Revoke one first.',
  409,
)
export const NotFoundError = define('STATEFUL_NOT_FOUND', 'There is no %s.', 404)
export const MissingHostError = define('STATEFUL_MISSING_HOST', 'HTTP/1.1 needs the header Host.', 400)
export const ClosingError = define(
  'STATEFUL_SERVER_CLOSING',
  'The server is closing. Try again in a moment; another instance may answer.',
  503,
)

export const JsonTooDeepError = define(
  'STATEFUL_JSON_TOO_DEEP',
  'The JSON has more than %s levels of arrays and objects.',
  400,
)

// --- health -----------------------------------------------------------------------------------
export const OverloadedError = define(
  'STATEFUL_OVERLOADED',
  'The process is overloaded and takes no new work for a moment.',
  503,
)

/** Something failed and was not caught, and this request was at work then and has not been answered since. */
export const UncaughtError = define('STATEFUL_INTERNAL', 'An uncaught error left the request without an answer.', 500)

// --- what one client may have at the same time ------------------------------------------------
export const TooManyAtOnceError = define(
  'STATEFUL_TOO_MANY_AT_ONCE',
  'You have %s %s already, as many as one may have at the same time. End some of them, or wait until they end.',
  429,
)

// --- cache ------------------------------------------------------------------------------------
export const InvalidCacheKeyError = define(
  'STATEFUL_INVALID_CACHE_KEY',
  "The cache %s %s. Use a non-empty, well-formed string of at most 512 bytes of UTF-8; for namespaces 1 to 64 of 'a-z A-Z 0-9 _ . -'.",
  400,
)
export const InvalidCacheValueError = define('STATEFUL_INVALID_CACHE_VALUE', 'The value for the cache %s.', 400)
export const InvalidTtlError = define(
  'STATEFUL_INVALID_TTL',
  "The ttl is no duration above 0 and up to a hundred years. Use milliseconds or text such as '5m'.",
  400,
)
export const TooManyNamespacesError = define(
  'STATEFUL_TOO_MANY_NAMESPACES',
  'There are already %s cache namespaces, the bound that `maxNamespaces` sets.',
  400,
)
/** The store did not confirm an invalidation or a write: other instances may still serve what was there before. */
export const CacheStoreError = define(
  'STATEFUL_CACHE_STORE_UNAVAILABLE',
  'The cache store did not confirm the %s: what was cached before may still be served elsewhere. Try again.',
  503,
)
/** The store is there, but does not take it: a right that its user lacks, a key that holds something else. */
export const CacheStoreRefusedError = define(
  'STATEFUL_CACHE_STORE_REFUSED',
  'The cache store refused the %s, and will refuse it again; `cause` says why. docs/redis.md lists what its user must be allowed.',
  500,
)
export const CacheLoadTimeoutError = define(
  'STATEFUL_CACHE_LOAD_TIMEOUT',
  "The loader of a cache entry in namespace '%s' took longer than %s ms.",
  504,
)
export const NestedLoadError = define(
  'STATEFUL_CACHE_NESTED_LOAD',
  "The loader of a cache entry in namespace '%s' asks for its own key, itself or through other loaders, and would wait for itself. Ask the source instead.",
  500,
)
export const UnknownWriterError = define(
  'STATEFUL_UNKNOWN_WRITER',
  "No write-behind handler is called '%s'. Register it with cache.writeBehind(name, handler) first.",
  500,
)
export const WriteBehindFullError = define(
  'STATEFUL_WRITE_BEHIND_FULL',
  "The write-behind journal of '%s' holds %s entries, its bound; its handler does not keep up.",
  503,
)
/** Why a handler's signal is aborted, and why a batch is tried again. */
export const WriteBehindTimeoutError = define(
  'STATEFUL_WRITE_BEHIND_TIMEOUT',
  "The write-behind handler '%s' took longer than %s ms. Its writes stay in the journal and are handed over again.",
  504,
)
export const WriteBehindLostError = define(
  'STATEFUL_WRITE_BEHIND_LOST',
  "This instance no longer hands over the writes of '%s': %s. They stay in the journal, and another instance may be at it.",
  503,
)

// --- response cache ------------------------------------------------------------------------------
export const NotCachedError = define(
  'STATEFUL_NOT_CACHED',
  'There is no stored answer that fits, and the request takes no other (only-if-cached). Ask without it.',
  504,
)

// --- sync -------------------------------------------------------------------------------------
export const ForeignOriginError = define(
  'STATEFUL_FOREIGN_ORIGIN',
  "The origin '%s' may not open a live connection to the Host '%s'. Add it to 'allowedOrigins'; if the page is of this very host, a proxy in between replaces the header Host: let it pass that on (nginx: proxy_set_header Host $http_host).",
  403,
)
export const UpgradeRequiredError = define(
  'STATEFUL_UPGRADE_REQUIRED',
  'This is a WebSocket. Connect with ws:// or wss://.',
  426,
)
export const InvalidMessageError = define('STATEFUL_INVALID_MESSAGE', 'The message was not understood: %s.', 400)
export const NotSubscribedError = define(
  'STATEFUL_NOT_SUBSCRIBED',
  'There is no such subscription. Send a subscribe first.',
  409,
)
export const TooManyMessagesError = define(
  'STATEFUL_TOO_MANY_MESSAGES',
  'Too many messages at once. Wait for the answers to earlier ones.',
  429,
)
export const TooManySubscriptionsError = define(
  'STATEFUL_TOO_MANY_SUBSCRIPTIONS',
  'A connection may have %s subscriptions.',
  429,
)
export const PresenceTooLargeError = define(
  'STATEFUL_PRESENCE_TOO_LARGE',
  'The data of a node in a presence may have %s characters as JSON.',
  413,
)
export const TooManyConnectionsError = define(
  'STATEFUL_TOO_MANY_CONNECTIONS',
  'There are too many live connections. Come back later.',
  429,
)

// --- state ------------------------------------------------------------------------------------
export const InvalidStateKeyError = define('STATEFUL_STATE_INVALID_KEY', 'The key is refused: it %s.', 400)
export const InvalidStateValueError = define(
  'STATEFUL_STATE_INVALID_VALUE',
  "The value of '%s' is no JSON: it %s.",
  400,
)
export const InvalidStateOpError = define('STATEFUL_STATE_INVALID_OPERATION', 'The commit is refused: %s.', 400)
export const InvalidSpaceError = define(
  'STATEFUL_STATE_INVALID_SPACE',
  "'%s' is no name of a space. Use 1 to 64 letters, digits, '_', '.' and '-', the first a letter or digit.",
  400,
)
export const TooManySpacesError = define(
  'STATEFUL_STATE_TOO_MANY_SPACES',
  'There are %s open spaces, all in use, and none could be closed for another within %s ms.',
  503,
)
export const StateLimitError = define('STATEFUL_STATE_LIMIT', '%s', 413)
export const StateSchemaError = define(
  'STATEFUL_STATE_SCHEMA',
  "The result for key '%s' does not fit the schema of '%s': %s.",
  422,
)
/** A middleware did not call `next()`. */
export const StateRefusedError = define('STATEFUL_STATE_REFUSED', "The write of key '%s' was refused.", 422)
/** A guard did not hold: somebody else changed the key in between. Nothing was written. */
export const StateConflictError = define('STATEFUL_STATE_CONFLICT', "Key '%s' is at revision %s, not %s.", 409)
/** Somebody else has it meanwhile, or its end came: what was to be written under it was not. */
export const StateLeaseLostError = define(
  'STATEFUL_STATE_LEASE_LOST',
  "The lease '%s' is not held any more. Nothing was written; stop what it protects.",
  409,
)
export const StateLeaseHeldError = define(
  'STATEFUL_STATE_LEASE_HELD',
  "The lease '%s' has another holder, who did not release it within %s ms.",
  409,
)
export const StatePreconditionError = define(
  'STATEFUL_STATE_PRECONDITION_FAILED',
  "Key '%s' is at revision %s, not at the one that If-Match names.",
  412,
)
export const StateHistoryGoneError = define(
  'STATEFUL_STATE_HISTORY_GONE',
  "The history after '%s' is not retained, or that position lies in a lost one. Take a snapshot, or export since=oldest.",
  410,
)
/** The deadline passed before the write was sent to the store: it will never be applied. */
export const StateTimeoutError = define(
  'STATEFUL_STATE_TIMEOUT',
  "The write to space '%s' was not done within %s ms and will not be done any more.",
  503,
)
/** The deadline passed after the write was sent to the store: it may have been applied, or may still be. */
export const StateOutcomeUnknownError = define(
  'STATEFUL_STATE_OUTCOME_UNKNOWN',
  "The store did not confirm the write to space '%s': whether it took place is unknown. Read before you repeat it, or repeat it with the same clientId and seq.",
  503,
)
export const StateOverloadedError = define(
  'STATEFUL_STATE_OVERLOADED',
  "Space '%s' has %s writes waiting and takes no more for a moment.",
  503,
)
export const StateNotReadyError = define(
  'STATEFUL_STATE_NOT_READY',
  "Space '%s' is not loaded, or was closed while it was idle. Await its `ready` right before you read it.",
  503,
)
export const StateClosedError = define('STATEFUL_STATE_CLOSED', "Space '%s' is closed.", 503)

// --- session ----------------------------------------------------------------------------------
/** The session was ended while this request was at work; nothing that the request changed in it is kept. */
export const SessionRevokedError = define(
  'STATEFUL_SESSION_REVOKED',
  'The session was ended meanwhile. Log in again.',
  401,
)
/** Thrown where the value would be saved, and nothing of the request is. */
export const InvalidSessionValueError = define(
  'STATEFUL_INVALID_SESSION_VALUE',
  "The session value '%s' cannot be kept: it %s. Keep what JSON gives back as it is: text, finite numbers, lists and plain objects.",
  500,
)
/** The response cannot carry the session's cookie; nothing was saved. */
export const InvalidSessionCookieError = define(
  'STATEFUL_INVALID_SESSION_COOKIE',
  "The session's cookie cannot be written: %s. Set single attributes of `session.cookie`, to values that a cookie may have.",
  500,
)
/** `login()` was given somebody in whom the option `user` of the sessions finds no identity. */
export const UnidentifiedUserError = define(
  'STATEFUL_UNIDENTIFIED_USER',
  'login() found no identity in the user it was given. Give one with an `id` (text or a finite number), or tell by the option `user` of the session plugin where it is.',
  500,
)
export const SessionConflictError = define(
  'STATEFUL_SESSION_CONFLICT',
  'The session was changed by other requests at the same time, again and again. Try once more.',
  409,
)
export const TooManySessionsError = define(
  'STATEFUL_TOO_MANY_SESSIONS',
  'The user has as many sessions as are allowed. End one of them first.',
  409,
)
export const FreshLoginRequiredError = define(
  'STATEFUL_FRESH_LOGIN_REQUIRED',
  'This needs a recent login. Log in again.',
  401,
)

// --- accounts ---------------------------------------------------------------------------------
export const InvalidCredentialsError = define(
  'STATEFUL_INVALID_CREDENTIALS',
  'The username or the password is wrong.',
  401,
)
/** Told only to someone who knows the password. */
export const AccountDisabledError = define(
  'STATEFUL_ACCOUNT_DISABLED',
  'The account is disabled. Ask an administrator to enable it.',
  403,
)
/** Nothing was changed. */
export const LastAdministratorError = define(
  'STATEFUL_LAST_ADMINISTRATOR',
  'This is the last administrator who can log in. Make another one first.',
  409,
)
export const InvalidUsernameError = define(
  'STATEFUL_INVALID_USERNAME',
  'The username is refused: it %s. Use everyday letters of one script, digits and signs, at most 128 of them.',
  400,
)
export const InvalidPasswordError = define(
  'STATEFUL_INVALID_PASSWORD',
  'The password is refused: it %s. Use 8 to 128 characters.',
  400,
)
export const UsernameTakenError = define('STATEFUL_USERNAME_TAKEN', 'There is an account of that name.', 409)
export const TooManyAttemptsError = define(
  'STATEFUL_TOO_MANY_ATTEMPTS',
  'Too many failed attempts. Wait as long as Retry-After says, then try again.',
  429,
)
export const TooManyPreferencesError = define(
  'STATEFUL_TOO_MANY_PREFERENCES',
  'There would be more than %s preferences. Use fewer names.',
  422,
)
export const IncompleteAccountError = define(
  'STATEFUL_INCOMPLETE_ACCOUNT',
  'There is no user of that id; to create one, name a username and a password.',
  422,
)
/** Boot only. */
export const StateEvictingStoreError = define(
  'STATEFUL_STATE_EVICTING_STORE',
  "Redis may evict state: its maxmemory-policy is '%s'. Set it to 'noeviction', or to a 'volatile-' one: state has no expiry in Redis.",
  500,
)
/** The write is in the log and visible, but fewer copies confirmed it than the ack level asks for. */
export const StateNotReplicatedError = define(
  'STATEFUL_STATE_NOT_REPLICATED',
  'The write was made, but only %s of %s copies confirmed it in time; a failover may lose it.',
  503,
)

// --- requests from other sites ----------------------------------------------------------------
export const CrossSiteRequestError = define(
  'STATEFUL_CROSS_SITE_REQUEST',
  'A page of another site sent this. Send it from an origin that is allowed.',
  403,
)
export const InvalidCsrfTokenError = define(
  'STATEFUL_INVALID_CSRF_TOKEN',
  "The header 'x-csrf-token' is missing or belongs to another session. Ask for a token and send it.",
  403,
)

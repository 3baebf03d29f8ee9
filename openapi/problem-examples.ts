/**
 * What a problem of each code looks like. The words are those of the errors themselves, so that they are what an answer
 * says.
 */

import { problemOf } from '../plugins/problems/problem.ts'
import * as errors from '../plugins/support/errors.ts'
import type { Problem } from './schemas/problem.ts'

interface Sample {
  statusCode: number
  message: string
}

/**
 * What no class of errors.ts says: Fastify throws it, and it gets a code of ours in plugins/problems; or the reducer.
 */
const sample = (statusCode: number, message: string) => (): Sample => ({ statusCode, message })

/** One of each error, made when a document is: what it is about is what the examples of the requests are about. */
const samples = {
  STATEFUL_INVALID_INPUT: sample(400, 'The body was refused.'),
  STATEFUL_BODY_TOO_LARGE: sample(413, 'Request body is too large'),
  STATEFUL_UNSUPPORTED_MEDIA_TYPE: sample(415, 'Unsupported Media Type'),
  STATEFUL_URI_TOO_LONG: sample(414, 'A part of the path is too long.'),
  STATEFUL_INTERNAL: sample(500, ''),
  STATEFUL_STATE_TYPE_MISMATCH: sample(422, "'increment' of key 'theme' needs a number to increment."),
  STATEFUL_JSON_TOO_DEEP: () => new errors.JsonTooDeepError(100),
  STATEFUL_UNAUTHENTICATED: () => new errors.UnauthenticatedError(),
  STATEFUL_FORBIDDEN: () => new errors.ForbiddenError('state:write'),
  STATEFUL_NOT_FOUND: () => new errors.NotFoundError("key 'theme' in space 'app'"),
  STATEFUL_SERVER_CLOSING: () => new errors.ClosingError(),
  STATEFUL_OVERLOADED: () => new errors.OverloadedError(),
  STATEFUL_STORAGE_UNAVAILABLE: () => new errors.StorageUnavailableError('set a key'),
  STATEFUL_STORAGE_FULL: () => new errors.StorageFullError('the disk'),
  STATEFUL_TOO_MANY_AT_ONCE: () => new errors.TooManyAtOnceError(8, 'requests that wait'),
  STATEFUL_CROSS_SITE_REQUEST: () => new errors.CrossSiteRequestError(),
  STATEFUL_INVALID_CSRF_TOKEN: () => new errors.InvalidCsrfTokenError(),
  STATEFUL_FOREIGN_ORIGIN: () => new errors.ForeignOriginError('https://elsewhere.example', 'app.example'),
  STATEFUL_INVALID_CREDENTIALS: () => new errors.InvalidCredentialsError(),
  STATEFUL_TOO_MANY_ATTEMPTS: () => new errors.TooManyAttemptsError(),
  STATEFUL_SESSION_REVOKED: () => new errors.SessionRevokedError(),
  STATEFUL_SESSION_CONFLICT: () => new errors.SessionConflictError(),
  STATEFUL_TOO_MANY_SESSIONS: () => new errors.TooManySessionsError(),
  STATEFUL_FRESH_LOGIN_REQUIRED: () => new errors.FreshLoginRequiredError(),
  STATEFUL_TOO_MANY_PREFERENCES: () => new errors.TooManyPreferencesError(50),
  STATEFUL_INVALID_USERNAME: () => new errors.InvalidUsernameError('mixes letters of several scripts'),
  STATEFUL_INVALID_PASSWORD: () => new errors.InvalidPasswordError('is too short'),
  STATEFUL_USERNAME_TAKEN: () => new errors.UsernameTakenError(),
  STATEFUL_LAST_ADMINISTRATOR: () => new errors.LastAdministratorError(),
  STATEFUL_ACCOUNT_DISABLED: () => new errors.AccountDisabledError(),
  STATEFUL_INVALID_TOKEN: () => new errors.InvalidTokenError(),
  STATEFUL_MISSING_SCOPE: () => new errors.MissingScopeError('state:write'),
  STATEFUL_TOO_MANY_TOKENS: () => new errors.TooManyTokensError(1_000),
  STATEFUL_INCOMPLETE_ACCOUNT: () => new errors.IncompleteAccountError(),
  STATEFUL_INVALID_CACHE_KEY: () => new errors.InvalidCacheKeyError('key', 'has 600 bytes'),
  STATEFUL_INVALID_CACHE_VALUE: () => new errors.InvalidCacheValueError('is too large'),
  STATEFUL_INVALID_TTL: () => new errors.InvalidTtlError(),
  STATEFUL_TOO_MANY_NAMESPACES: () => new errors.TooManyNamespacesError(1_000),
  STATEFUL_CACHE_STORE_UNAVAILABLE: () => new errors.CacheStoreError('deletion'),
  STATEFUL_STATE_INVALID_KEY: () => new errors.InvalidStateKeyError('has 600 bytes, and may have 512'),
  STATEFUL_STATE_INVALID_VALUE: () => new errors.InvalidStateValueError('theme', 'has more than 100 levels'),
  STATEFUL_STATE_INVALID_OPERATION: () => new errors.InvalidStateOpError('a deletion takes no body'),
  STATEFUL_STATE_CONFLICT: () => new errors.StateConflictError('theme', 7, 6),
  STATEFUL_STATE_PRECONDITION_FAILED: () => new errors.StatePreconditionError('theme', 7),
  STATEFUL_STATE_LIMIT: () => new errors.StateLimitError("The value of 'theme' has 300000 bytes, and may have 262144."),
  STATEFUL_STATE_SCHEMA: () => new errors.StateSchemaError('theme', 'theme', 'must be string'),
  STATEFUL_STATE_REFUSED: () => new errors.StateRefusedError('theme'),
  STATEFUL_STATE_HISTORY_GONE: () => new errors.StateHistoryGoneError('1:kX3v9Qm2:3'),
  STATEFUL_STATE_TOO_MANY_SPACES: () => new errors.TooManySpacesError(64, 5_000),
  STATEFUL_STATE_TIMEOUT: () => new errors.StateTimeoutError('app', 5_000),
  STATEFUL_STATE_OUTCOME_UNKNOWN: () => new errors.StateOutcomeUnknownError('app'),
  STATEFUL_STATE_OVERLOADED: () => new errors.StateOverloadedError('app', 10_000),
  STATEFUL_TOO_MANY_CONNECTIONS: () => new errors.TooManyConnectionsError(),
} satisfies Record<string, () => Sample>

export type ProblemCode = keyof typeof samples

/** What answers with a status when a route says no more of it. */
const general: { readonly [status: number]: readonly ProblemCode[] } = {
  400: ['STATEFUL_INVALID_INPUT'],
  401: ['STATEFUL_UNAUTHENTICATED'],
  403: ['STATEFUL_FORBIDDEN'],
  404: ['STATEFUL_NOT_FOUND'],
  410: ['STATEFUL_STATE_HISTORY_GONE'],
  412: ['STATEFUL_STATE_PRECONDITION_FAILED'],
  413: ['STATEFUL_BODY_TOO_LARGE'],
  414: ['STATEFUL_URI_TOO_LONG'],
  415: ['STATEFUL_UNSUPPORTED_MEDIA_TYPE'],
  429: ['STATEFUL_TOO_MANY_AT_ONCE'],
  500: ['STATEFUL_INTERNAL'],
  503: ['STATEFUL_STORAGE_UNAVAILABLE', 'STATEFUL_SERVER_CLOSING'],
  507: ['STATEFUL_STORAGE_FULL'],
}

export const generalCodes = (status: number): readonly ProblemCode[] => general[status] ?? []

/** The status that a code comes with. */
export const statusOfCode = (code: ProblemCode): number => samples[code]().statusCode

/** The part of a request that a schema refuses, for {@link exampleOf}. */
export type Refused = 'body' | 'querystring' | 'params' | 'headers'

/** @param refused which part of the request, if the code is that of a schema */
export function exampleOf(code: ProblemCode, refused: Refused = 'body'): Problem {
  const { statusCode, message } = samples[code]()
  const detail = code === 'STATEFUL_INVALID_INPUT' ? `The ${refused} was refused.` : message
  // As an answer: what went wrong inside is not told.
  const problem = problemOf(statusCode, code, 'req-1', statusCode >= 500 ? undefined : detail)
  if (code !== 'STATEFUL_INVALID_INPUT') return problem
  const { requestId, ...told } = problem
  return { ...told, errors: [refusals[refused]], requestId }
}

const refusals = {
  body: { path: '/body', message: "must NOT have additional properties: 'vlaue'" },
  querystring: { path: '/querystring', message: "must NOT have additional properties: 'spcae'" },
  params: { path: '/params/key', message: 'must NOT have more than 512 characters' },
  headers: { path: '/headers/if-match', message: 'must NOT have more than 1024 characters' },
}

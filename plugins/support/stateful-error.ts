/**
 * What every error of this package is an instance of, on the server. Free of imports: the reducer has one that runs in
 * the browser as well.
 * @example if (error instanceof StatefulError) reply.code(error.statusCode).send({ code: error.code })
 */
export abstract class StatefulError extends Error {
  /** Stable: one a cause, listed in docs/errors.md. */
  abstract readonly code: string
  abstract readonly statusCode: number
}

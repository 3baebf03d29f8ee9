/** What sessions of @fastify/session and express-session tell a store of their lifetime. */
export interface ForeignCookie {
  expires?: Date | string | boolean | null | undefined
  originalMaxAge?: number | null | undefined
}

export type StoreCallback<Value = void> = (error: unknown, value?: Value) => void

/** Milliseconds until a cookie ends; `undefined` when it lives until the browser closes. */
export function lifetimeOf(cookie: ForeignCookie | undefined, now: number): number | undefined {
  const { expires, originalMaxAge } = cookie ?? {}
  const at = typeof expires === 'string' || expires instanceof Date ? new Date(expires).getTime() : Number.NaN
  return Number.isNaN(at) ? (originalMaxAge ?? undefined) : at - now
}

/**
 * Answers by the callback, out of the promise chain: what a callback throws is its own affair, not a second answer to it.
 */
export function answer<Value>(result: Promise<Value>, callback: StoreCallback<Value>): void {
  result.then(
    (value) => setImmediate(callback, null, value),
    (error) => setImmediate(callback, error),
  )
}

/** What sessions of @fastify/session and express-session tell a store of their lifetime. */
export interface ForeignCookie {
  expires?: Date | string | boolean | null | undefined
  originalMaxAge?: number | null | undefined
}

export type StoreCallback<Value = void> = (error: unknown, value?: Value) => void

/** A cookie may say `Infinity`, or a year that no store can keep. */
const LONGEST = 100 * 365 * 24 * 60 * 60 * 1_000

/** Milliseconds until a cookie ends; `undefined` when it lives until the browser closes, or says nothing sensible. */
export function lifetimeOf(cookie: ForeignCookie | undefined, now: number): number | undefined {
  const { expires, originalMaxAge } = cookie ?? {}
  const at = typeof expires === 'string' || expires instanceof Date ? new Date(expires).getTime() : Number.NaN
  const lifetime = Number.isNaN(at) ? originalMaxAge : at - now
  return typeof lifetime === 'number' && !Number.isNaN(lifetime) ? Math.min(lifetime, LONGEST) : undefined
}

/**
 * Answers by the callback, out of the promise chain: what a callback throws is its own affair, not a second answer to it.
 * Before the next turn, where the storage allows it: @fastify/session saves while a reply is on its way, and the less
 * comes between, the more applications that were written with a store in memory go on as they did.
 */
export function answer<Value>(result: Promise<Value>, callback: StoreCallback<Value>): void {
  result.then(
    (value) => queueMicrotask(() => callback(null, value)),
    (error) => queueMicrotask(() => callback(error)),
  )
}

/**
 * Whether a function has answered with a promise, be it one of another realm (`node:vm`, as test runners use it) or of a
 * library of its own (query builders), which `instanceof Promise` takes for a value. For servers and browsers alike.
 */
export function isPromiseLike<Value>(value: Value | PromiseLike<Value>): value is PromiseLike<Value> {
  return typeof (value as { then?: unknown } | null | undefined)?.then === 'function'
}

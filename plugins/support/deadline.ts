import type { Clock } from './clock.ts'

/**
 * What the promise comes to, if it does so within `ms`; else rejects. What it comes to later is ignored.
 * @param late makes the error of the one that came too late
 * @example await within(storage.ping(), 1_000, clock, () => new StorageUnavailableError('no answer within 1000 ms'))
 */
export function within<Result>(promise: Promise<Result>, ms: number, clock: Clock, late: () => Error): Promise<Result> {
  return new Promise((resolve, reject) => {
    const timer = clock.after(ms, () => reject(late()))
    promise.then(resolve, reject).finally(() => timer.cancel())
  })
}

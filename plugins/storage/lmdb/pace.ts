import type { Clock } from '../../support/clock.ts'

/** Called between pieces of work of a few milliseconds; what it throws ends the reading. */
export type Pace = () => void | Promise<void>

/** Thrown by a `Pace`: the work is not done, and that says nothing about what was to be read. */
export class OutOfTime extends Error {}

/** Milliseconds of work after which it rests for four times as long. */
const SLICE = 5
const REST = 4
const LONGEST_REST = 200

/** Until `ms` have passed from now. */
export function within(ms: number): Pace {
  const started = performance.now()
  return () => {
    if (performance.now() - started > ms) throw new OutOfTime()
  }
}

/** Reading in the background takes a fifth of the time, so that requests are answered meanwhile. */
export function considerate(clock: Clock, signal: AbortSignal): Pace {
  let since = clock.monotonic()
  return async () => {
    if (signal.aborted) throw new OutOfTime()
    const worked = clock.monotonic() - since
    if (worked < SLICE) return
    await new Promise<void>((resolve) => {
      const goOn = () => {
        signal.removeEventListener('abort', goOn)
        timer.cancel()
        resolve()
      }
      const timer = clock.after(Math.min(worked * REST, LONGEST_REST), goOn)
      // The end does not wait for a timer, which does not keep the process alive.
      signal.addEventListener('abort', goOn)
    })
    since = clock.monotonic()
  }
}

/**
 * Where every engine gets its time from, so that a test can move it by hand.
 * Wall time is for what people and other machines see (expiry dates of sessions);
 * monotonic time is for what must survive a clock jump (cache TTLs, heartbeats).
 */
export interface Clock {
  /** Wall clock, milliseconds since the Unix epoch. */
  now(): number
  /** Milliseconds since an arbitrary start; never goes back. */
  monotonic(): number
  /** Calls `run` once after `ms`. The timer never keeps the process alive. */
  after(ms: number, run: () => void): Timer
  /** Calls `run` every `ms`, at most 24 days, until cancelled. The timer never keeps the process alive. */
  every(ms: number, run: () => void): Timer
}

export interface Timer {
  cancel(): void
}

/** What Node's timers count to, some 24 days: beyond it they fire at once. */
const LONGEST_TIMER = 2 ** 31 - 1

export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  after(ms, run) {
    let handle: NodeJS.Timeout
    const arm = (left: number) => {
      const rest = left - LONGEST_TIMER
      handle = rest > 0 ? setTimeout(() => arm(rest), LONGEST_TIMER) : setTimeout(run, left)
      handle.unref()
    }
    arm(ms)
    return { cancel: () => clearTimeout(handle) }
  },
  every(ms, run) {
    const handle = setInterval(run, Math.min(ms, LONGEST_TIMER))
    handle.unref()
    return { cancel: () => clearInterval(handle) }
  },
}

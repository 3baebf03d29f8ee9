import { startTimer } from './timer.ts'

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
  /** Calls `run` once after `ms`, however long that is. The timer never keeps the process alive. */
  after(ms: number, run: () => void): Timer
  /** Calls `run` every `ms` until cancelled. The timer never keeps the process alive. */
  every(ms: number, run: () => void): Timer
}

/** Something that runs later, unless it is cancelled. */
export interface Timer {
  cancel(): void
}

const unref = (handle: { unref(): unknown }) => void handle.unref()

export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  after: (ms, run) => ({ cancel: startTimer(ms, run, unref) }),
  every(ms, run) {
    let cancel: () => void
    const again = () => {
      // Before it runs, so that one of ours that throws is called again like any other.
      cancel = startTimer(ms, again, unref)
      run()
    }
    cancel = startTimer(ms, again, unref)
    return { cancel: () => cancel() }
  },
}

/**
 * One timer for all who wait for the same: what they then ask for can go together. It runs while somebody waits.
 * @internal
 */
export function sharedTimer(clock: Clock, ms: number): (run: () => void) => Timer {
  const waiting = new Set<{ run: () => void }>()
  let timer: Timer | undefined
  return (run) => {
    const one = { run }
    waiting.add(one)
    timer ??= clock.every(ms, () => {
      for (const { run } of waiting) run()
    })
    return {
      cancel() {
        waiting.delete(one)
        if (waiting.size > 0) return
        timer?.cancel()
        timer = undefined
      },
    }
  }
}

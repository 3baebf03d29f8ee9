import { type Clock, systemClock } from '../../support/clock.ts'

/** Reads of the clock after which it is really read, however little time has passed. */
const READS = 32

/**
 * Monotonic time at the price of a field: reading the system's clock takes longer than finding an entry. It is read
 * again after a millisecond of the event loop, or after 32 looks; while the loop is blocked nothing can be heard from
 * other instances either. An injected clock is passed through.
 */
export function coarse(clock: Clock): () => number {
  if (clock !== systemClock) return () => clock.monotonic()
  let now = 0
  let left = 0
  let armed = false
  const forget = () => {
    left = 0
    armed = false
  }
  return () => {
    if (left > 0) {
      left--
      return now
    }
    now = clock.monotonic()
    left = READS
    if (!armed) {
      armed = true
      clock.after(1, forget)
    }
    return now
  }
}

import type { Clock, Timer } from '../../support/clock.ts'

const INTERVAL = 60_000
/** What is gone through in one step, so that a full store holds no request up. */
const STEP = 2_000
/** More dead ones than this share of a step, and the next one comes soon: there are more where they came from. */
const MANY = 1 / 4
const SOON = 100

/**
 * Goes through a store for what is dead, a step at a time, round and round (as Redis does for its keys).
 * @param step looks at so many more and removes the dead ones among them; answers how many those were
 */
export function sweeping(clock: Clock, step: (most: number) => number): Timer {
  let timer: Timer
  const sweep = () => {
    const dead = step(STEP)
    timer = clock.after(dead > STEP * MANY ? SOON : INTERVAL, sweep)
  }
  timer = clock.after(INTERVAL, sweep)
  return { cancel: () => timer.cancel() }
}

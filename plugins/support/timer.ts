/** A platform fires a timer that is longer than this (24.8 days) at once. */
const LONGEST = 2 ** 31 - 1

type Handle = ReturnType<typeof setTimeout>

/**
 * Calls `run` once after `ms`, however long that is. For servers and browsers alike.
 * @param started told of each timer of the platform that is started for it
 * @returns prevents it
 */
export function startTimer(ms: number, run: () => void, started: (handle: Handle) => void = () => {}): () => void {
  let left = ms
  let handle: Handle
  const wait = () => {
    const next = Math.min(left, LONGEST)
    left -= next
    handle = setTimeout(() => (left > 0 ? wait() : run()), next)
    started(handle)
  }
  wait()
  return () => clearTimeout(handle)
}

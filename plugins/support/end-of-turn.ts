let waiting: (() => void)[] = []

/**
 * Resolves at the end of this turn of the event loop, with all others that wait for it: requests whose answers need
 * nothing from outside go on together, as they do behind one command to Redis. One by one they take nearly twice the CPU
 * time of a busy server, as each answer wakes its client before the next request is read.
 *
 * Each goes on in its own context (AsyncLocalStorage).
 */
export function endOfTurn(): Promise<void> {
  return new Promise((resolve) => {
    if (waiting.push(resolve) === 1) setImmediate(resolveAll)
  })
}

function resolveAll(): void {
  const resolved = waiting
  waiting = []
  for (const resolve of resolved) resolve()
}

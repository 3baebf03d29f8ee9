/** Calls per second of a synchronous function, run for about `ms`. Its results must be used: return something. */
export function callsPerSecond(call: (index: number) => unknown, ms: number): number {
  let batch = 1
  let calls = 0
  let sink: unknown
  const started = performance.now()
  for (;;) {
    for (let index = 0; index < batch; index++) sink = call(calls + index)
    calls += batch
    const elapsed = performance.now() - started
    if (elapsed >= ms) {
      // Reading the sink keeps the compiler from dropping calls whose results are not used.
      if (sink === performance) throw new Error('unreachable')
      return (calls * 1000) / elapsed
    }
    // The clock is read about every millisecond: often enough to stop in time, too rarely to be measured.
    batch = Math.max(1, Math.round(calls / elapsed))
  }
}

/** Calls per second of an asynchronous function, run for about `ms` with so many calls in flight. Default 1. */
export async function asyncCallsPerSecond(
  call: (index: number) => Promise<unknown>,
  ms: number,
  concurrency = 1,
): Promise<number> {
  let calls = 0
  const started = performance.now()
  const end = started + ms
  async function lane() {
    while (performance.now() < end) await call(calls++)
  }
  await Promise.all(Array.from({ length: concurrency }, lane))
  return (calls * 1000) / (performance.now() - started)
}

import type { Replica } from '../replica.ts'
import type { Keys } from '../types.ts'

/** For code that likes events: dispatches `change` (a CustomEvent with the snapshot as `detail`) until `signal` aborts. */
export function replicaEvents<K extends Keys>(replica: Replica<K>, signal?: AbortSignal): EventTarget {
  const target = new EventTarget()
  const end = replica.subscribe(() => target.dispatchEvent(new CustomEvent('change', { detail: replica.snapshot() })))
  signal?.addEventListener('abort', end, { once: true })
  return target
}

import type { Json } from '../openapi/schemas/state.ts'
import type { Replica, ReplicaStatus } from './replica.ts'

/** `useSyncExternalStore` of `react`, or of `preact/compat`. */
export type ExternalStoreHook = <T>(subscribe: (listener: () => void) => () => void, snapshot: () => T) => T

export interface ReplicaHooks {
  /** The value of one key; renders again only when that changes. */
  useKey<T extends Json>(replica: Replica, key: string): T | undefined
  /** Everything. */
  useReplica(replica: Replica): { readonly [key: string]: Json }
  useStatus(replica: Replica): ReplicaStatus
}

/** Hooks for React and Preact: `const { useKey } = replicaHooks(useSyncExternalStore)`. */
export function replicaHooks(useSyncExternalStore: ExternalStoreHook): ReplicaHooks {
  return {
    useKey: <T extends Json>(replica: Replica, key: string) =>
      useSyncExternalStore(replica.subscribe, () => replica.get(key) as T | undefined),
    useReplica: (replica) => useSyncExternalStore(replica.subscribe, replica.snapshot),
    useStatus: (replica) => useSyncExternalStore(replica.subscribe, () => replica.status),
  }
}

/** For code that likes events: dispatches `change` (a CustomEvent with the snapshot as `detail`) until `signal` aborts. */
export function replicaEvents(replica: Replica, signal?: AbortSignal): EventTarget {
  const target = new EventTarget()
  const end = replica.subscribe(() => target.dispatchEvent(new CustomEvent('change', { detail: replica.snapshot() })))
  signal?.addEventListener('abort', end, { once: true })
  return target
}

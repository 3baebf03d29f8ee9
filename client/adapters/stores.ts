import type { PresenceMember } from '../../openapi/messages/server.ts'
import type { Presence } from '../presence.ts'
import type { Replica, ReplicaStatus } from '../replica.ts'
import type { KeyOf, Keys, Snapshot } from '../types.ts'

/** A store by Svelte's contract: `subscribe` tells the value at once, and again whenever it changes. */
export interface ReadableStore<T> {
  subscribe(run: (value: T) => void): () => void
}

/** Svelte subscribes while it renders on a server, too; what was asked for there would hold a connection. */
const isPage = () => (globalThis as { document?: object }).document !== undefined

function storeOf<T>(now: () => T, subscribe: (listener: () => void) => () => void): ReadableStore<T> {
  return {
    subscribe(run) {
      run(now())
      return isPage() ? subscribe(() => run(now())) : () => {}
    },
  }
}

/**
 * The value of one key as a store for Svelte. To write, use the replica.
 * @example
 * const title = keyStore(board, 'title') // in the component: {$title}
 */
export function keyStore<K extends Keys, Key extends KeyOf<K>>(
  replica: Replica<K>,
  key: Key,
): ReadableStore<K[Key] | undefined> {
  return storeOf(
    () => replica.get(key),
    (listener) => replica.subscribe(key, listener),
  )
}

/** Everything that a replica holds, as a store for Svelte. */
export function replicaStore<K extends Keys>(replica: Replica<K>): ReadableStore<Snapshot<K>> {
  return storeOf(replica.snapshot, replica.subscribe)
}

/** How a replica is connected, as a store for Svelte. */
export function statusStore<K extends Keys>(replica: Replica<K>): ReadableStore<ReplicaStatus> {
  return storeOf(() => replica.status, replica.subscribe)
}

/** Who follows a space, as a store for Svelte. */
export function presenceStore(presence: Presence): ReadableStore<readonly PresenceMember[]> {
  return storeOf(presence.members, presence.subscribe)
}

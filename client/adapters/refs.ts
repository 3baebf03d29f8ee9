import type { PresenceMember } from '../../openapi/messages/server.ts'
import type { Presence } from '../presence.ts'
import type { Replica, ReplicaStatus } from '../replica.ts'
import type { KeyOf, Keys, Snapshot } from '../types.ts'

/** What these are made of, as `vue` has it. */
export interface RefLibrary {
  shallowRef<T>(value: T): { value: T }
  onMounted(hook: () => void): unknown
  onUnmounted(hook: () => void): unknown
}

/** Reactive as any ref; to write, use the replica. */
export interface ReadonlyRef<T> {
  readonly value: T
}

/** Refs of a replica, for Vue and what has refs like it. */
export interface ReplicaRefs {
  /** The value of one key. */
  useKey<K extends Keys, Key extends KeyOf<K>>(replica: Replica<K>, key: Key): ReadonlyRef<K[Key] | undefined>
  /** Everything. */
  useReplica<K extends Keys>(replica: Replica<K>): ReadonlyRef<Snapshot<K>>
  useStatus<K extends Keys>(replica: Replica<K>): ReadonlyRef<ReplicaStatus>
  /** Who follows the space, this client included. */
  usePresence(presence: Presence): ReadonlyRef<readonly PresenceMember[]>
}

/**
 * Composables for Vue: refs that follow a replica while their component is mounted.
 * @example
 * import { onMounted, onUnmounted, shallowRef } from 'vue'
 * export const { useKey } = replicaRefs({ onMounted, onUnmounted, shallowRef })
 */
export function replicaRefs({ shallowRef, onMounted, onUnmounted }: RefLibrary): ReplicaRefs {
  /** Not before it is mounted: what is rendered on a server never is, and nothing would end it there. */
  const following = <T>(now: () => T, subscribe: (listener: () => void) => () => void): ReadonlyRef<T> => {
    const ref = shallowRef(now())
    const show = () => {
      ref.value = now()
    }
    let end = () => {}
    onMounted(() => {
      end = subscribe(show)
      show()
    })
    onUnmounted(() => end())
    return ref
  }
  return {
    useKey: (replica, key) =>
      following(
        () => replica.get(key),
        (listener) => replica.subscribe(key, listener),
      ),
    useReplica: (replica) => following(replica.snapshot, replica.subscribe),
    useStatus: (replica) => following(() => replica.status, replica.subscribe),
    usePresence: (presence) => following(presence.members, presence.subscribe),
  }
}

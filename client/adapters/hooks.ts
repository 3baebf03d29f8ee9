import type { PresenceMember } from '../../openapi/messages/server.ts'
import type { StatefulClient } from '../index.ts'
import type { Presence } from '../presence.ts'
import type { Replica, ReplicaStatus, Topic } from '../replica.ts'
import type { AnyKeys, KeyOf, Keys, KeysOf, Snapshot, Spaces } from '../types.ts'

/** What these hooks are made of, as `react` has it, and `preact/compat`. */
export interface HookLibrary {
  useSyncExternalStore<T>(subscribe: (listener: () => void) => () => void, now: () => T, onServer?: () => T): T
  useState<T>(first: T): readonly [T, (next: T) => void]
  useEffect(effect: () => undefined | (() => void), dependencies: readonly unknown[]): void
}

/** Each takes also `undefined`, for what is not there yet. */
export interface ReplicaHooks {
  /**
   * A replica for as long as the component is there; `undefined` at first, and while a page is rendered on a server.
   * @example
   * const board = useSpace(client, 'board')
   * const title = useKey(board, 'title')
   */
  useSpace<S extends Spaces, const Name extends string = 'app'>(
    client: Pick<StatefulClient<object, S>, 'replica'>,
    space?: Name,
    topic?: Topic,
  ): Replica<KeysOf<S, Name>> | undefined
  /** The value of one key; renders again only when that changes. */
  useKey<K extends Keys, Key extends KeyOf<K>>(replica: Replica<K> | undefined, key: Key): K[Key] | undefined
  /** Everything. */
  useReplica<K extends Keys = AnyKeys>(replica: Replica<K> | undefined): Snapshot<K>
  /** `connecting` as long as there is no replica. */
  useStatus<K extends Keys>(replica: Replica<K> | undefined): ReplicaStatus
  /** Who follows the space, this client included. */
  usePresence(presence: Presence | undefined): readonly PresenceMember[]
}

const NOBODY: readonly PresenceMember[] = []
const NOTHING = {}
const never = () => () => {}

/**
 * Hooks for React and Preact.
 * @example
 * import { useEffect, useState, useSyncExternalStore } from 'react' // or 'preact/compat'
 * export const { useSpace, useKey } = replicaHooks({ useEffect, useState, useSyncExternalStore })
 */
export function replicaHooks({ useSyncExternalStore, useState, useEffect }: HookLibrary): ReplicaHooks {
  return {
    useSpace<S extends Spaces, const Name extends string = 'app'>(
      client: Pick<StatefulClient<object, S>, 'replica'>,
      space?: Name,
      { key, prefix }: Topic = {},
    ) {
      const [replica, setReplica] = useState<Replica<KeysOf<S, Name>> | undefined>(undefined)
      useEffect(() => {
        const held = client.replica(space, {
          ...(key === undefined ? {} : { key }),
          ...(prefix === undefined ? {} : { prefix }),
        })
        setReplica(held)
        return () => held.close()
      }, [client, space, key, prefix])
      return replica
    },
    useKey: (replica, key) =>
      useSyncExternalStore(
        replica?.subscribe ?? never,
        () => replica?.get(key),
        () => (replica?.getServerSnapshot() as { readonly [name: string]: never } | undefined)?.[key],
      ),
    useReplica: <K extends Keys>(replica: Replica<K> | undefined) =>
      useSyncExternalStore<Snapshot<K>>(
        replica?.subscribe ?? never,
        replica?.snapshot ?? (() => NOTHING as Snapshot<K>),
        replica?.getServerSnapshot ?? (() => NOTHING as Snapshot<K>),
      ),
    useStatus: (replica) =>
      useSyncExternalStore<ReplicaStatus>(
        replica?.subscribe ?? never,
        () => replica?.status ?? 'connecting',
        () => 'connecting',
      ),
    usePresence: (presence) =>
      useSyncExternalStore(presence?.subscribe ?? never, presence?.members ?? (() => NOBODY), () => NOBODY),
  }
}

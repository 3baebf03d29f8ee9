import type { Json, Op } from '../openapi/schemas/state.ts'

/** What is used of `sessionStorage`. */
export interface QueueStorage {
  getItem(key: string): string | null
  setItem(key: string, value: string): void
}

export interface KeptWrite {
  readonly clientId: string
  readonly seq: number
  readonly space: string
  readonly ops: readonly Op[]
}

/** The writes of one page that are not confirmed. */
export interface KeptQueue {
  readonly clientId: string
  readonly seq: number
  /** Whose they are; see `hello.user`. */
  readonly user?: string | undefined
  readonly writes: readonly KeptWrite[]
}

/** The confirmed part of one replica. */
export interface KeptReplica {
  readonly epoch: string
  readonly revision: number
  /** As in a queue. */
  readonly user?: string | undefined
  readonly entries: readonly (readonly [string, Json])[]
}

/** What earlier pages have left for this one. */
export interface Kept {
  /** Whose it is, if anybody knows. */
  readonly user: string | undefined
  /** The highest number of a write under the id of this client. */
  readonly seq: number
  readonly writes: readonly KeptWrite[]
  readonly replicas: ReadonlyMap<string, KeptReplica>
}

/** Keeps what a page would lose by a reload. Never throws: what cannot be kept is in memory still. */
export interface Keeper {
  load(): Promise<Kept | undefined>
  /** @param queue is called when it is written */
  saveQueue(queue: () => KeptQueue): void
  /** @param replica `undefined` when there is nothing to keep any more */
  saveReplica(id: string, replica: () => KeptReplica | undefined): void
  /** The session ended: nothing may stay on this device. */
  clear(): void
}

/** Loaded when there is something to keep; `undefined` when nothing is to be kept, or can be. */
export type KeeperSoon = Promise<Keeper | undefined> | undefined

/** @returns `undefined` when there are several users: then it is unknown whose this page is */
export function keptOf(
  clientId: string,
  queues: readonly KeptQueue[],
  replicas: ReadonlyMap<string, KeptReplica> = new Map(),
): Kept | undefined {
  const users = new Set([...queues, ...replicas.values()].map(({ user }) => user))
  users.delete(undefined)
  if (users.size > 1) return undefined
  const [user] = users
  const seq = queues.find((queue) => queue.clientId === clientId)?.seq ?? 0
  return { user, seq, writes: queues.flatMap(({ writes }) => writes), replicas }
}

/**
 * In the storage of one tab: unconfirmed writes only. A copy of the tab gets a copy of them, and both send them under
 * the same numbers, which has the effect of once.
 */
export function storageKeeper(url: string, clientId: string, storage: QueueStorage): Keeper {
  const name = `stateful:${url}`
  return {
    async load() {
      try {
        const queue = JSON.parse(storage.getItem(name) ?? 'null') as KeptQueue | null
        return queue && Array.isArray(queue.writes) ? keptOf(clientId, [queue]) : undefined
      } catch {
        return undefined
      }
    },
    saveQueue(queue) {
      try {
        storage.setItem(name, JSON.stringify(queue()))
      } catch {
        // Full or forbidden.
      }
    },
    saveReplica() {},
    clear() {},
  }
}

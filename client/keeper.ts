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

/** What earlier pages have left. */
export interface Kept {
  readonly queues: readonly KeptQueue[]
  readonly replicas: ReadonlyMap<string, KeptReplica>
}

/** Keeps what a page would lose by a reload. Never throws: what cannot be kept is in memory still. */
export interface Keeper {
  /** `undefined`: nothing, and at once. */
  load(): Kept | Promise<Kept> | undefined
  /** @param queue is called when it is written */
  saveQueue(queue: () => KeptQueue): void
  saveReplica(id: string, replica: () => KeptReplica): void
  /** The session ended: nothing may stay on this device. */
  clear(): void
}

export const noKeeper: Keeper = { load: () => undefined, saveQueue() {}, saveReplica() {}, clear() {} }

/**
 * In the storage of one tab, at once: unconfirmed writes only. A copy of the tab gets a copy of them, and both send them
 * under the same numbers, which has the effect of once.
 */
export function storageKeeper(url: string, storage: QueueStorage): Keeper {
  const name = `stateful:${url}`
  return {
    ...noKeeper,
    load() {
      try {
        const queue = JSON.parse(storage.getItem(name) ?? 'null') as KeptQueue | null
        return queue && Array.isArray(queue.writes) ? { queues: [queue], replicas: new Map() } : undefined
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
  }
}

/** One that is loaded when there is something to keep. */
export function laterKeeper(make: () => Promise<Keeper>): Keeper {
  const made = make().catch(() => noKeeper)
  const then = (run: (keeper: Keeper) => void) => void made.then(run)
  return {
    load: async () => (await (await made).load()) ?? { queues: [], replicas: new Map() },
    saveQueue: (queue) => then((keeper) => keeper.saveQueue(queue)),
    saveReplica: (id, replica) => then((keeper) => keeper.saveReplica(id, replica)),
    clear: () => then((keeper) => keeper.clear()),
  }
}

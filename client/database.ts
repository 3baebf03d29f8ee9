import { type Keeper, type Kept, type KeptQueue, type KeptReplica, keptOf, type QueueStorage } from './keeper.ts'

const QUEUES = 'queues'
const REPLICAS = 'replicas'
/** Records of an address; when there are more, all are dropped. */
const MOST_RECORDS = 50
const MOST_ENTRIES = 20_000
/** Milliseconds between two savings of a replica. */
const SAVE_EVERY = 2_000
const LOAD_DEADLINE = 1_000

interface Locks {
  request(name: string, options: object, run: (lock: unknown) => unknown): Promise<unknown>
}

/**
 * In IndexedDB, for all pages of an origin. A page holds a lock by the name of its queue for as long as it lives, and
 * takes over queues without an owner: each has one. Without locks (a page that is not secure) it takes over
 * that of the page before it in the same tab.
 */
export function databaseKeeper(url: string, clientId: string, after: (ms: number, run: () => void) => unknown): Keeper {
  const { indexedDB, navigator, sessionStorage } = globalThis as unknown as {
    indexedDB: IDBFactory
    navigator?: { locks?: Locks }
    sessionStorage?: QueueStorage
  }
  const mine = `${url} ${clientId}`
  const pending = new Map<string, () => void>()
  let database: IDBDatabase | undefined
  let queueNames: string[] = []

  const store = (name: string) => (database as IDBDatabase).transaction(name, 'readwrite').objectStore(name)
  const write = (key: string, ms: number, run: () => void) => {
    if (!pending.has(key)) after(ms, () => flush(key))
    pending.set(key, run)
  }
  const flush = (key: string) => {
    const run = pending.get(key)
    if (!run || !database) return
    pending.delete(key)
    try {
      run()
    } catch {
      // Closed or full.
    }
  }

  const lock = (name: string) =>
    new Promise<boolean>((resolve) => {
      const run = (held: unknown) => {
        resolve(held !== null)
        // Held until the page is gone.
        return held === null ? undefined : new Promise(() => {})
      }
      navigator?.locks?.request(`stateful ${name}`, { ifAvailable: true }, run).catch(() => resolve(false))
    })
  const ofThisTab = (name: string) => {
    try {
      return sessionStorage?.getItem(`stateful:${url}`) === name
    } catch {
      return false
    }
  }

  const read = async (): Promise<Kept | undefined> => {
    const opening = indexedDB.open('stateful', 1)
    opening.onupgradeneeded = () => {
      for (const name of [QUEUES, REPLICAS]) opening.result.createObjectStore(name)
    }
    database = await answer(opening)
    const queues: KeptQueue[] = []
    const names = (await answer(store(QUEUES).getAllKeys(rangeOf(url)))) as string[]
    for (const name of names) {
      if (navigator?.locks ? !(await lock(name)) : !ofThisTab(name)) continue
      const queue = (await answer(store(QUEUES).get(name))) as KeptQueue | undefined
      if (queue) queues.push(queue)
      queueNames.push(name)
    }
    lock(mine)
    try {
      sessionStorage?.setItem(`stateful:${url}`, mine)
    } catch {
      // Forbidden.
    }
    if (names.length > MOST_RECORDS) store(QUEUES).delete(rangeOf(url))
    const replicas = new Map<string, KeptReplica>()
    const ids = (await answer(store(REPLICAS).getAllKeys(rangeOf(url)))) as string[]
    if (ids.length > MOST_RECORDS) store(REPLICAS).delete(rangeOf(url))
    else {
      for (const id of ids) replicas.set(id.slice(url.length + 1), await answer(store(REPLICAS).get(id)))
    }
    for (const key of pending.keys()) flush(key)
    const kept = keptOf(clientId, queues, replicas)
    if (!kept) clear()
    return kept
  }
  const clear = () => {
    pending.clear()
    if (!database) return
    store(QUEUES).delete(mine)
    store(REPLICAS).delete(rangeOf(url))
  }

  globalThis.addEventListener?.('pagehide', () => {
    for (const key of pending.keys()) flush(key)
  })
  return {
    load: () => {
      const nothing = new Promise<undefined>((resolve) => {
        after(LOAD_DEADLINE, () => resolve(undefined))
      })
      return Promise.race([read(), nothing]).catch(() => undefined)
    },
    saveQueue(queue) {
      write(QUEUES, 0, () => {
        const kept = queue()
        const records = store(QUEUES)
        // In one transaction: what was taken over is nowhere twice.
        for (const name of queueNames) records.delete(name)
        queueNames = []
        if (kept.writes.length > 0) records.put(kept, mine)
        else records.delete(mine)
      })
    },
    saveReplica(id, replica) {
      write(id, SAVE_EVERY, () => {
        const kept = replica()
        if (kept && kept.entries.length <= MOST_ENTRIES) store(REPLICAS).put(kept, `${url} ${id}`)
      })
    },
    clear,
  }
}

/** All keys that begin with the address. */
const rangeOf = (url: string) => IDBKeyRange.bound(`${url} `, `${url} \uffff`)

const answer = <T>(request: IDBRequest<T>) =>
  new Promise<T>((resolve, reject) => {
    request.onsuccess = () => resolve(request.result)
    request.onerror = () => reject(request.error)
  })

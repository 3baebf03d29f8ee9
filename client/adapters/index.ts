export { replicaEvents } from './events.ts'
export { type HookLibrary, type ReplicaHooks, replicaHooks } from './hooks.ts'
export { type ReadonlyRef, type RefLibrary, type ReplicaRefs, replicaRefs } from './refs.ts'
export { keyStore, presenceStore, type ReadableStore, replicaStore, statusStore } from './stores.ts'

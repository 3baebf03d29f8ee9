/** `fastify-stateful/express`: our session stores for express-session. */
export { ExpressStore, type ExpressStoreOptions } from './plugins/session/compat/express-store.ts'
export { sessionStoreOn } from './plugins/session/stores/on-storage.ts'

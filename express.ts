/** `fastify-stateful/express`: our session stores for express-session. */
import { ExpressStore } from './plugins/session/express-store.ts'

export { ExpressStore, type ExpressStoreOptions } from './plugins/session/express-store.ts'
export { sessionStoreOn } from './plugins/session/stores/on-storage.ts'
export default ExpressStore

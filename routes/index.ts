/** The routes of the contract, each a plugin that takes a `prefix`. */
export { authRoutes } from './auth/index.ts'
export { cacheRoutes } from './cache/index.ts'
export { healthRoutes } from './health/index.ts'
export { sessionRoutes } from './sessions/index.ts'
export { stateRoutes } from './state/index.ts'
export { statsRoutes } from './stats/index.ts'
export { syncRoutes } from './sync/index.ts'
export { userRoutes } from './users/index.ts'

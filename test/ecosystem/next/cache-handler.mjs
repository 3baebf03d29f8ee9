import { nextCacheHandler } from 'fastify-stateful/adapters'

export default nextCacheHandler({ storage: process.env.REDIS_URL ?? 'redis://127.0.0.1:6379' })

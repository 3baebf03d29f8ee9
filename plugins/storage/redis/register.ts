import type { FastifyBaseLogger, FastifyInstance } from 'fastify'
import type { RedisStorage } from '../storage.ts'

/** The driver's connection as `fastify.redis.stateful`, for what the application itself has there; its troubles are logged. */
export async function registerRedis(
  fastify: FastifyInstance,
  storage: RedisStorage,
  log: FastifyBaseLogger,
): Promise<void> {
  const { client } = storage.client.servers
  client.on('error', (error) => log.warn({ err: error }, 'Redis connection failed; reconnecting'))
  client.on('ready', () => log.info('Redis connection is back'))
  await fastify.register(import('@fastify/redis'), { namespace: 'stateful', client, closeClient: false })
}

import type { RedisConnection } from '../storage/redis/connection.ts'

/**
 * The client as rate-limiter-flexible gets it: without transactions. It reads a count by `MULTI`, and a Redis whose
 * memory is full queues no command, not even one that only reads: nobody could log in, or be refused.
 */
export function withoutTransactions(client: RedisConnection): RedisConnection {
  return new Proxy(client, {
    get(target, name) {
      if (name === 'multi') return () => pipeline(target)
      const value = Reflect.get(target, name, target) as unknown
      return typeof value === 'function' ? value.bind(target) : value
    },
  })
}

/** As a transaction does, it rejects when one of its commands has failed. */
function pipeline(client: RedisConnection) {
  const commands = client.pipeline()
  const exec = commands.exec.bind(commands)
  commands.exec = async () => {
    const results = await exec()
    for (const [error] of results ?? []) if (error) throw error
    return results
  }
  return commands
}

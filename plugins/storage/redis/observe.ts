import { InvalidConfigurationError } from '../../support/errors.ts'
import type { RedisStorage } from '../storage.ts'
import { connect, disconnect } from './connection.ts'
import { refuse } from './failure.ts'

/**
 * Hears every message between the instances of an application, on a connection of its own: for those who look. The user
 * on Redis may need `+psubscribe`.
 *
 * @returns ends it
 * @throws STATEFUL_INVALID_CONFIGURATION on a Cluster, whose channels lie in slots and have no patterns
 */
export async function observeChannels(
  { client, prefix }: RedisStorage,
  listener: (channel: string, message: string) => void,
): Promise<() => Promise<void>> {
  const [server] = client.servers.all()
  if (client.isCluster || !server) {
    throw new InvalidConfigurationError('a Redis Cluster tells no messages by a pattern of channels')
  }
  const line = await connect(server.duplicate({ enableAutoPipelining: false, autoResubscribe: true }))
  line.on('pmessage', (_pattern: string, channel: string, message: string) => listener(channel, message))
  await line.psubscribe(`${prefix.replace(/[[\]\\*?]/g, '\\$&')}*`).catch(refuse)
  return () => disconnect(line)
}

import type { Redis } from 'ioredis'
import { redisAddress } from './address.ts'
import { connectCluster, connectServer } from './servers.ts'

/** What a Redis server tells of itself, to one who looks. */
export interface ServerFacts {
  /** `host:port` */
  name: string
  /** What INFO and CONFIG answer, by field; what the server refuses to tell is missing. */
  info: ReadonlyMap<string, string>
  /** How far its clock is ahead of this one, in milliseconds. */
  clockAhead: number
  /** Milliseconds from a command to its answer. */
  roundTrip: number
  /** Commands that the user may not use, and the application needs. */
  refused: readonly string[]
}

/** One harmless call of each group of commands; keys and channels begin with the prefix. */
function needed(key: string): [name: string, ...args: string[]][] {
  return [
    ['EVAL', 'return 1', '1', key],
    ['GET', key],
    ['MGET', key],
    ['SET', key, '1', 'PX', '1000'],
    ['GETRANGE', key, '0', '0'],
    ['SETRANGE', key, '0', '1'],
    ['PEXPIRE', key, '1000'],
    ['PTTL', key],
    ['EXISTS', key],
    ['INCR', key],
    ['DEL', key],
    ['UNLINK', key],
    ['HSET', key, 'a', '1'],
    ['HGET', key, 'a'],
    ['HMGET', key, 'a'],
    ['HGETALL', key],
    ['HLEN', key],
    ['HINCRBY', key, 'a', '1'],
    ['HDEL', key, 'a'],
    ['RPUSH', key, '1'],
    ['LRANGE', key, '0', '0'],
    ['LTRIM', key, '1', '0'],
    ['ZADD', key, '1', 'a'],
    ['ZCARD', key],
    ['ZRANGEBYSCORE', key, '0', '0'],
    ['ZREM', key, 'a'],
    ['XADD', key, '*', 'a', '1'],
    ['XRANGE', key, '-', '+', 'COUNT', '1'],
    ['XLEN', key],
    ['DEL', key],
    ['PUBLISH', key, ''],
  ]
}

/**
 * Asks each server of a storage what it is and what it allows. It needs no more rights than to connect, and leaves nothing
 * behind.
 * @throws the reason, without a password, when a server does not answer or does not let this user in
 */
export async function probeRedis(url: string, prefix: string, now: () => number): Promise<ServerFacts[]> {
  const address = redisAddress(url)
  const servers = await (address.kind === 'cluster' ? connectCluster(address) : connectServer(address))
  servers.client.on('error', () => {})
  try {
    return await Promise.all(servers.all().map((server) => factsOf(server, `${prefix}doctor`, now)))
  } finally {
    await servers.close()
  }
}

async function factsOf(server: Redis, key: string, now: () => number): Promise<ServerFacts> {
  const { host, port, path } = server.options
  const sent = now()
  const time = await server.time().catch(() => undefined)
  const received = now()
  const told = time ? Number(time[0]) * 1_000 + Number(time[1]) / 1_000 : (sent + received) / 2
  return {
    name: path ?? `${host}:${port}`,
    info: await tell(server),
    clockAhead: told - (sent + received) / 2,
    roundTrip: received - sent,
    refused: await refusedOf(server, key),
  }
}

async function tell(server: Redis): Promise<Map<string, string>> {
  const facts = new Map<string, string>()
  const text = await server.info().catch(() => '')
  for (const [, name, value] of text.matchAll(/^(\w+):(.*)\r?$/gm)) facts.set(name as string, (value as string).trim())
  const save = (await server.call('CONFIG', ['GET', 'save']).catch(() => undefined)) as string[] | undefined
  if (save?.[1] !== undefined) facts.set('save', save[1])
  return facts
}

async function refusedOf(server: Redis, key: string): Promise<string[]> {
  const refused = new Set<string>()
  for (const [name, ...args] of needed(key)) {
    await server.call(name, args).catch((error: Error) => {
      // A key that lies elsewhere, a full memory and the like say nothing of rights.
      if (!error.message.startsWith('NOPERM')) return
      refused.add(/key/.test(error.message) ? 'keys' : /channel/.test(error.message) ? 'channels' : name.toLowerCase())
    })
  }
  return [...refused]
}

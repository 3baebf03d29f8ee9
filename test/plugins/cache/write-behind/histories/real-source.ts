import type { Redis } from 'ioredis'

export interface Numbered {
  by: string
  n: number
}

const SOURCE = 'source'
const DISORDER = 'disorder'

/** What the handler of each process does: the last write of a key wins, and one that is older is noted. */
export async function persist(redis: Redis, writes: readonly { id: string; key: string; value: Numbered }[]) {
  const script = `for i = 1, #ARGV, 3 do
      local before = redis.call('HGET', KEYS[1], ARGV[i])
      if before and string.sub(before, 1, 16) > ARGV[i + 1] then redis.call('RPUSH', KEYS[2], ARGV[i] .. ARGV[i + 2])
      else redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1] .. ARGV[i + 2]) end
    end`
  const args = writes.flatMap(({ key, id, value }) => [key, id, JSON.stringify(value)])
  await redis.eval(script, 2, SOURCE, DISORDER, ...args)
}

export async function persisted(redis: Redis): Promise<{ rows: Map<string, Numbered>; disorder: string[] }> {
  const rows = Object.entries(await redis.hgetall(SOURCE))
  return {
    rows: new Map(rows.map(([key, text]) => [key, JSON.parse(text.slice(16))])),
    disorder: await redis.lrange(DISORDER, 0, -1),
  }
}

import { Cluster } from 'ioredis'
import t, { type Test } from 'tap'
import { type RedisCluster, type RedisClusterNode, startRedisCluster } from '../fixtures/redis-cluster.ts'

function connect(t: Test, { nodes }: RedisCluster): Cluster {
  const cluster = new Cluster(
    nodes.map(({ host, port }) => ({ host, port })),
    { clusterRetryStrategy: () => null, redisOptions: { commandTimeout: 2_000 }, maxRedirections: 4 },
  )
  cluster.on('error', () => {})
  t.teardown(() => cluster.disconnect())
  return cluster
}

t.test('is ready soon, serves every slot, redirects after a resharding and dies node by node', async (t) => {
  const started = performance.now()
  const servers = await startRedisCluster(t)
  t.ok(performance.now() - started < 5_000, `ready after ${Math.round(performance.now() - started)} ms`)
  t.equal(servers.nodes.length, 3)
  const cluster = connect(t, servers)
  const keys = Array.from({ length: 30 }, (_, i) => `key-${i}`)
  await Promise.all(keys.map((key) => cluster.set(key, key)))
  t.strictSame(await Promise.all(keys.map((key) => cluster.get(key))), keys)

  const slot = await cluster.cluster('KEYSLOT', 'key-0')
  for (const node of servers.nodes) {
    await servers.moveSlot(slot, node)
    t.equal(await cluster.get('key-0'), 'key-0', 'a redirection is followed')
  }

  const last = servers.nodes.at(-1) as RedisClusterNode
  await last.kill()
  t.equal(last.process().signalCode, 'SIGKILL')
  const answers = await Promise.allSettled(keys.map((key) => cluster.get(key)))
  const answered = answers.filter(({ status }) => status === 'fulfilled').length
  t.ok(answered > 0, 'the other nodes go on')
  t.ok(answered < keys.length, 'and cannot answer for the dead one')
})

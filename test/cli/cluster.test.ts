/** Commands on a real Redis Cluster, where what they walk through lies on several nodes. */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Redis } from 'ioredis'
import t from 'tap'
import { loggedIn, testApp } from '../fixtures/app.ts'
import { command, jsonOf } from '../fixtures/command.ts'
import { startRedisCluster } from '../fixtures/redis-cluster.ts'
import { storageUrl, temporaryFolder } from '../fixtures/storages.ts'

/** All of an export but its header. */
async function records(file: string): Promise<string[]> {
  const [, ...lines] = (await readFile(file, 'utf8')).trim().split('\n')
  return lines.sort()
}

t.test('sessions, users, state, and an export of all nodes that another storage takes', async (t) => {
  const { nodes } = await startRedisCluster(t)
  const storage = `redis+cluster://${nodes.map(({ host, port }) => `${host}:${port}`).join(',')}`
  const env = { STORAGE: storage }
  const app = await testApp(t, { storage })
  const admin = await loggedIn(app)
  await loggedIn(app)
  for (let n = 0; n < 12; n++) {
    await app.accounts.create({ username: `user ${n}`, password: 'a good password', role: 'user' })
    await app.sessions.create(`id ${n}`)
    await app.state.space(`space-${n}`).set('key', n)
  }
  const keysOf = await Promise.all(
    nodes.map(async ({ port }) => {
      const node = new Redis(port)
      const counts = await Promise.all(
        ['*{state:space-*}*meta', '*session*'].map(async (p) => (await node.keys(p)).length),
      )
      node.disconnect()
      return counts
    }),
  )
  t.ok(
    keysOf.every(([spaces, sessions]) => spaces && sessions),
    'each node has some of it',
  )

  const listed = jsonOf(await command(['sessions', 'list', 'admin', '--json'], { env }))
  t.equal(listed.length, 2)
  t.match(jsonOf(await command(['users', 'list', 'user', '--json'], { env })), { length: 12 })
  t.match(await command(['get', 'key', '--space', 'space-7'], { env }), { code: 0, stdout: '7\n' })
  const [own] = jsonOf(await command(['sessions', 'list', 'id 3', '--json'], { env }))
  t.match(await command(['sessions', 'revoke', own.handle], { env }), { code: 0 })
  t.equal(await app.sessions.get(own.handle), undefined)

  const folder = await temporaryFolder(t)
  const [file, back] = [join(folder, 'all.ndjson'), join(folder, 'back.ndjson')]
  const counts = jsonOf(await command(['export', file, '--json'], { env }))
  t.match(counts, { account: 13, session: 2 + 11, space: 12, key: 12 })
  const lmdb = await storageUrl(t, 'lmdb')
  t.match(jsonOf(await command(['import', file, '--json', '--storage', lmdb])), { written: 13 + 13 + 12 + 12 })
  await command(['export', back, '--storage', lmdb])
  t.same(await records(back), await records(file))

  t.match(jsonOf(await command(['import', back, '--json'], { env })), { written: 0 }, 'and the Cluster has all of it')
  t.match(jsonOf(await command(['sessions', 'revoke', '--user', 'admin', '--json'], { env })), { ended: 2 })
  t.equal((await admin({ url: '/profile' })).statusCode, 401)
  t.match(jsonOf(await command(['import', back, '--json'], { env })), { written: 0 }, 'a revoked session stays revoked')
})

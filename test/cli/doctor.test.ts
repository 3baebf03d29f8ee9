/** `doctor` against broken set-ups on real folders and a real Redis: each is named, with its cure. */

import { once } from 'node:events'
import { chmod, mkdir, rm, utimes, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { Redis } from 'ioredis'
import t, { type Test } from 'tap'
import type { Finding, Surroundings } from '../../cli/doctor/check.ts'
import { diagnose } from '../../cli/doctor/checks.ts'
import type { InstanceStats } from '../../openapi/schemas/stats.ts'
import { RedisBoard } from '../../plugins/stats/stores/redis.ts'
import { openStorage } from '../../plugins/storage/index.ts'
import { SUSPECT_FILE } from '../../plugins/storage/lmdb/recover.ts'
import { randomText } from '../../plugins/support/random.ts'
import { testApp } from '../fixtures/app.ts'
import { command } from '../fixtures/command.ts'
import { freePort, startRedis } from '../fixtures/redis-server.ts'
import { startRestrictedRedis } from '../fixtures/redis-user.ts'
import { temporaryFolder } from '../fixtures/storages.ts'

type Environment = Record<string, string>

interface SetUp {
  environment: Environment
  given?: Partial<Surroundings>
}

interface Expected {
  level: Finding['level']
  what: string
  found: RegExp
  cure: RegExp
}

/** Everything as it should be, on LMDB in production. */
async function sound(t: Test): Promise<Environment> {
  return {
    NODE_ENV: 'production',
    STORAGE: `lmdb:${await temporaryFolder(t)}`,
    SESSION_SECRET: randomText(32),
    TRUST_PROXY: 'loopback',
    PORT: `${await freePort()}`,
  }
}

const HERE: Partial<Surroundings> = { nodeVersion: '22.12.0', openFiles: 65_536 }

t.test('nothing is wrong where everything is right', async (t) => {
  const findings = await diagnose(await sound(t), HERE)
  t.same(
    findings.filter(({ level, what }) => level !== 'pass' && what !== 'disk'),
    [],
  )
  t.ok(findings.length > 10)
})

const broken: Record<string, { change: (sound: Environment, t: Test) => Promise<SetUp> | SetUp; expected: Expected }> =
  {
    'an old Node.js': {
      change: (environment) => ({ environment, given: { nodeVersion: '18.20.0' } }),
      expected: { level: 'failure', what: 'Node.js', found: /18\.20/, cure: /20\.19 or newer/ },
    },
    'a Node.js without security updates': {
      change: (environment) => ({ environment, given: { nodeVersion: '20.20.2' } }),
      expected: { level: 'warning', what: 'Node.js', found: /no security updates/, cure: /LTS/ },
    },
    'few open files': {
      change: (environment) => ({ environment, given: { openFiles: 256 } }),
      expected: { level: 'warning', what: 'open files', found: /256/, cure: /ulimit -n/ },
    },
    'more connections than open files': {
      change: (environment) => ({ environment: { ...environment, MAX_CONNECTIONS: '100000' } }),
      expected: { level: 'failure', what: 'open files', found: /100000.*65536/, cure: /MAX_CONNECTIONS/ },
    },
    'no secret in production': {
      change: (environment) => ({ environment: { ...environment, SESSION_SECRET: '' } }),
      expected: { level: 'failure', what: 'SESSION_SECRET', found: /missing/, cure: /randomBytes/ },
    },
    'a placeholder as the second secret': {
      change: ({ SESSION_SECRET, ...environment }) => ({
        environment: { ...environment, SESSION_SECRET: `${SESSION_SECRET},change-me-to-a-very-long-secret-key` },
      }),
      expected: { level: 'failure', what: 'SESSION_SECRET', found: /secret 2 of 2/, cure: /randomBytes/ },
    },
    'a secret for development only': {
      change: (environment) => ({
        environment: { ...environment, NODE_ENV: '', SESSION_SECRET: 'change-me-to-a-very-long-secret-key' },
      }),
      expected: { level: 'warning', what: 'SESSION_SECRET', found: /placeholder/, cure: /randomBytes/ },
    },
    'a password that everybody tries': {
      change: (environment) => ({ environment: { ...environment, ADMIN_PASSWORD: 'changeme' } }),
      expected: { level: 'failure', what: 'ADMIN_PASSWORD', found: /tries first/, cure: /of your own/ },
    },
    'an unknown NODE_ENV': {
      change: (environment) => ({ environment: { ...environment, NODE_ENV: 'prod' } }),
      expected: { level: 'warning', what: 'NODE_ENV', found: /"prod"/, cure: /'production'/ },
    },
    'a port that is none': {
      change: (environment) => ({ environment: { ...environment, PORT: 'http' } }),
      expected: { level: 'failure', what: 'variables', found: /PORT is not valid/, cure: /from 0 to 65535/ },
    },
    'a port that another program has': {
      change: async (environment, t) => {
        const server = createServer((socket) => socket.destroy()).listen(0, '127.0.0.1')
        t.teardown(() => server.close())
        await once(server, 'listening')
        return { environment: { ...environment, PORT: `${(server.address() as { port: number }).port}` } }
      },
      expected: { level: 'failure', what: 'port', found: /another program/, cure: /another PORT/ },
    },
    'an address of another machine': {
      change: (environment) => ({ environment: { ...environment, HOST: '192.0.2.1' } }),
      expected: { level: 'failure', what: 'port', found: /EADDRNOTAVAIL/, cure: /0\.0\.0\.0/ },
    },
    'cookies over HTTP': {
      change: (environment) => ({ environment: { ...environment, NODE_ENV: '', HOST: '0.0.0.0' } }),
      expected: { level: 'warning', what: 'cookies', found: /not Secure/, cure: /NODE_ENV=production/ },
    },
    'no trusted proxy': {
      change: (environment) => ({ environment: { ...environment, TRUST_PROXY: '' } }),
      expected: { level: 'warning', what: 'TRUST_PROXY', found: /every client has its address/, cure: /loopback/ },
    },
    'a proxy of any address': {
      change: (environment) => ({ environment: { ...environment, TRUST_PROXY: '10.0.0.0/8,0.0.0.0/0' } }),
      expected: { level: 'failure', what: 'TRUST_PROXY', found: /whole internet/, cure: /10\.0\.0\.0\/8/ },
    },
    'a proxy that is true': {
      change: (environment) => ({ environment: { ...environment, TRUST_PROXY: 'true' } }),
      expected: { level: 'failure', what: 'TRUST_PROXY', found: /no address/, cure: /addresses or networks/ },
    },
    'an origin with a path': {
      change: (environment) => ({ environment: { ...environment, ALLOWED_ORIGINS: 'https://app.example.com/' } }),
      expected: { level: 'failure', what: 'ALLOWED_ORIGINS', found: /app\.example\.com\/'/, cure: /no path/ },
    },
    'every origin': {
      change: (environment) => ({ environment: { ...environment, ALLOWED_ORIGINS: '*' } }),
      expected: { level: 'failure', what: 'ALLOWED_ORIGINS', found: /'\*' is no origin/, cure: /no \*/ },
    },
    'an origin without encryption': {
      change: (environment) => ({ environment: { ...environment, ALLOWED_ORIGINS: 'http://app.example.com' } }),
      expected: { level: 'warning', what: 'ALLOWED_ORIGINS', found: /not encrypted/, cure: /https/ },
    },
    'a storage that there is none of': {
      change: (environment) => ({ environment: { ...environment, STORAGE: 'mysql://db' } }),
      expected: { level: 'failure', what: 'STORAGE', found: /none that there is/, cure: /lmdb:<folder>/ },
    },
    'memory in production': {
      change: (environment) => ({ environment: { ...environment, STORAGE: 'memory:' } }),
      expected: { level: 'warning', what: 'STORAGE', found: /lost with each restart/, cure: /Redis/ },
    },
    'a data folder that is a file': {
      change: async (environment, t) => {
        const file = join(await temporaryFolder(t), 'data')
        await writeFile(file, '')
        return { environment: { ...environment, STORAGE: `lmdb:${file}` } }
      },
      expected: { level: 'failure', what: 'data folder', found: /is a file/, cure: /STORAGE/ },
    },
    'a data folder below a file': {
      change: async (environment, t) => {
        const file = join(await temporaryFolder(t), 'data')
        await writeFile(file, '')
        return { environment: { ...environment, STORAGE: `lmdb:${file}/below` } }
      },
      expected: { level: 'failure', what: 'data folder', found: /ENOTDIR/, cure: /Name a folder/ },
    },
    'a data folder that others read': {
      change: async (environment) => {
        await chmod(folderOf(environment), 0o755)
        return { environment }
      },
      expected: { level: 'warning', what: 'data folder', found: /other users/, cure: /chmod 700/ },
    },
    'a damaged database': {
      change: async (environment) => {
        await writeFile(join(folderOf(environment), SUSPECT_FILE), 'broken')
        return { environment }
      },
      expected: { level: 'failure', what: 'database', found: /damage/, cure: /salvage/ },
    },
    'no backup for days': {
      change: async (environment, t) => {
        const app = await testApp(t, { storage: environment['STORAGE'] as string })
        await app.close()
        return { environment, given: { now: () => Date.now() + 4 * 24 * 60 * 60_000 } }
      },
      expected: { level: 'warning', what: 'backups', found: /there is none/, cure: /fastify-stateful backup/ },
    },
    'an old backup': {
      change: async (environment, t) => {
        const app = await testApp(t, { storage: environment['STORAGE'] as string })
        await app.close()
        const folder = join(folderOf(environment), 'backups')
        const file = join(folder, '2026-01-01T00-00-00.000Z.mdb')
        await mkdir(folder, { recursive: true })
        await writeFile(file, '')
        await utimes(file, new Date('2026-01-01'), new Date('2026-01-01'))
        return { environment }
      },
      expected: { level: 'warning', what: 'backups', found: /2026-01-01/, cure: /the log of the server/ },
    },
    'a Redis that is not there': {
      change: async (environment) => ({
        environment: { ...environment, STORAGE: `redis://127.0.0.1:${await freePort()}` },
      }),
      expected: { level: 'failure', what: 'Redis', found: /ECONNREFUSED/, cure: /Start Redis/ },
    },
    'a Redis whose name nobody knows': {
      change: (environment) => ({ environment: { ...environment, STORAGE: 'redis://redis.invalid' } }),
      expected: { level: 'failure', what: 'Redis', found: /ENOTFOUND|EAI_AGAIN/, cure: /host name/ },
    },
    'a Redis elsewhere without encryption': {
      change: (environment) => ({ environment: { ...environment, STORAGE: 'redis://:secret@redis.invalid' } }),
      expected: { level: 'warning', what: 'Redis transport', found: /not encrypted/, cure: /rediss/ },
    },
    'a Redis elsewhere without a password': {
      change: (environment) => ({ environment: { ...environment, STORAGE: 'rediss://redis.invalid' } }),
      expected: { level: 'warning', what: 'Redis login', found: /no password/, cure: /docs\/redis\.md/ },
    },
    'TLS to a Redis without it': {
      change: async (environment, t) => {
        const { port } = await startRedis(t)
        return { environment: { ...environment, STORAGE: `rediss://127.0.0.1:${port}` } }
      },
      expected: { level: 'failure', what: 'Redis', found: /./, cure: /redis:\/\/ for one without/ },
    },
    'a wrong password': {
      change: async (environment, t) => {
        const { url } = await startRestrictedRedis(t)
        return { environment: { ...environment, STORAGE: url.replace('a-secret', 'wrong') } }
      },
      expected: { level: 'failure', what: 'Redis', found: /WRONGPASS/, cure: /user and password/ },
    },
    'a Redis that throws state away': {
      change: withRedis('--maxmemory-policy', 'allkeys-lru'),
      expected: { level: 'failure', what: 'Redis maxmemory-policy', found: /allkeys-lru/, cure: /noeviction/ },
    },
    'a Redis that ends sessions': {
      change: withRedis('--maxmemory-policy', 'volatile-ttl'),
      expected: { level: 'warning', what: 'Redis maxmemory-policy', found: /volatile-ttl/, cure: /noeviction/ },
    },
    'a Redis that is nearly full': {
      change: withRedis('--maxmemory', '1100000', '--maxmemory-policy', 'noeviction'),
      expected: { level: 'warning', what: 'Redis memory', found: /nearly full/, cure: /maxmemory/ },
    },
    'a Redis that keeps nothing': {
      change: withRedis(),
      expected: { level: 'warning', what: 'Redis persistence', found: /loses everything/, cure: /appendonly yes/ },
    },
    'a Redis with snapshots only': {
      change: withRedis('--save', '3600 1'),
      expected: { level: 'warning', what: 'Redis persistence', found: /snapshots only \(3600 1\)/, cure: /appendonly/ },
    },
    'a replica': {
      change: async (environment, t) => {
        const { port } = await startRedis(t)
        return withRedis('--replicaof', `127.0.0.1 ${port}`)(environment, t)
      },
      expected: { level: 'failure', what: 'Redis role', found: /refuses writes/, cure: /primary/ },
    },
    'a node of a Cluster as a server': {
      change: withRedis('--cluster-enabled', 'yes'),
      expected: { level: 'failure', what: 'Redis Cluster', found: /node of a Cluster/, cure: /redis\+cluster/ },
    },
    'a user who may not do everything': {
      change: async (environment, t) => {
        const { url, admin } = await startRestrictedRedis(t)
        await admin.call('ACL', ['SETUSER', 'app', '-hset', '-publish'])
        return { environment: { ...environment, STORAGE: url } }
      },
      expected: { level: 'failure', what: 'Redis ACL', found: /hset, publish$/, cure: /docs\/redis\.md/ },
    },
    'a user of other keys': {
      change: async (environment, t) => {
        const { url, admin } = await startRestrictedRedis(t)
        await admin.call('ACL', ['SETUSER', 'app', 'resetkeys', '~other:*'])
        return { environment: { ...environment, STORAGE: url } }
      },
      expected: { level: 'failure', what: 'Redis ACL', found: /keys/, cure: /docs\/redis\.md/ },
    },
    'a user who may not look': {
      change: async (environment, t) => ({
        environment: { ...environment, STORAGE: (await startRestrictedRedis(t)).url },
      }),
      expected: { level: 'warning', what: 'Redis INFO', found: /refused/, cure: /\+info/ },
    },
    'a clock that is off': {
      change: async (environment, t) => {
        const set = await withRedis()(environment, t)
        return { ...set, given: { now: () => Date.now() - 60_000 } }
      },
      expected: { level: 'failure', what: 'Redis clock', found: /60\.\d s ahead/, cure: /NTP/ },
    },
    'an instance of another version': {
      change: async (environment, t) => {
        const set = await withRedis()(environment, t)
        const storage = await openStorage(set.environment['STORAGE'] as string)
        t.teardown(() => storage.close())
        const at = new Date().toISOString()
        const stats = {
          instance: 'other',
          version: '0.0.9',
          at,
          unavailable: [],
          process: {},
        } as unknown as InstanceStats
        if (storage.kind === 'redis') await new RedisBoard(storage, 15_000).publish(stats)
        return set
      },
      expected: { level: 'warning', what: 'instances', found: /0\.0\.9/, cure: /one version/ },
    },
  }

t.ok(Object.keys(broken).length >= 20)
for (const [name, { change, expected }] of Object.entries(broken)) {
  t.test(name, async (t) => {
    const { environment, given } = await change(await sound(t), t)
    const findings = await diagnose(environment, { ...HERE, ...given })
    t.match(
      findings.filter(({ what, level }) => what === expected.what && level === expected.level),
      [expected],
    )
    const text = JSON.stringify(findings)
    for (const secret of ['SESSION_SECRET', 'ADMIN_PASSWORD']) {
      const value = environment[secret]
      if (value) t.notOk(text.includes(value), `${secret} is not repeated`)
    }
  })
}

t.test('the command: 3 when something is not in order, 0 else; JSON for programs', async (t) => {
  const env = await sound(t)
  const well = await command(['doctor'], { env })
  t.match(well, { code: 0, stdout: /^✓ STORAGE: lmdb$/m })
  t.match(well.stdout, /^\d+ failures, \d+ warnings$/m)
  const ill = { ...env, SESSION_SECRET: '', TRUST_PROXY: '' }
  const { code, stdout } = await command(['doctor', '--json'], { env: ill })
  t.equal(code, 3)
  t.match(JSON.parse(stdout), { failures: 1, findings: [{ what: 'Node.js' }] })
  t.match(await command(['doctor'], { env: ill }), { stdout: /^✗ SESSION_SECRET: .*\n {4}→ Make one with/m })
})

t.test('beside the server that it is about', async (t) => {
  const environment = await sound(t)
  const app = await testApp(t, { storage: environment['STORAGE'] as string })
  await app.listen({ host: '127.0.0.1', port: Number(environment['PORT']) })
  const findings = await diagnose(environment, HERE)
  t.match(
    findings.filter(({ what }) => what === 'owner' || what === 'port'),
    [
      { level: 'pass', found: /the server runs/ },
      { level: 'pass', found: /a server has the folder/ },
    ],
  )
  await app.close()
  await rm(folderOf(environment), { recursive: true })
  t.match(
    (await diagnose(environment, HERE)).find(({ what }) => what === 'data folder'),
    { level: 'pass', found: /is made at the first boot/ },
  )
})

t.test('it leaves nothing behind in Redis', async (t) => {
  const { url, port } = await startRedis(t)
  await diagnose({ ...(await sound(t)), STORAGE: url }, HERE)
  const client = new Redis(port)
  t.teardown(() => client.disconnect())
  t.same(await client.keys('*'), [])
})

function folderOf({ STORAGE = '' }: Environment): string {
  return STORAGE.slice('lmdb:'.length)
}

function withRedis(...args: string[]) {
  return async (environment: Environment, t: Test): Promise<SetUp> => {
    const { url } = await startRedis(t, args)
    return { environment: { ...environment, STORAGE: url } }
  }
}

import { randomBytes } from 'node:crypto'
import { readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { readConfig } from '../config.ts'
import { temporaryFolder } from './fixtures/storages.ts'

const SECRET = randomBytes(32).toString('base64url')
const OTHER = randomBytes(32).toString('hex')

t.test('the defaults need no configuration', async (t) => {
  const folder = await temporaryFolder(t)
  const config = await readConfig({ STORAGE: `lmdb:${folder}` })
  t.match(config, { production: false, host: '127.0.0.1', port: 3000, prefix: '', logLevel: 'info' })
  t.same(config.allowedOrigins, [])
  t.equal(config.adminPassword, undefined)
})

t.test('in development a secret is made once and kept, readable by its owner alone', async (t) => {
  const folder = await temporaryFolder(t)
  const both = await Promise.all([readConfig({ STORAGE: `lmdb:${folder}` }), readConfig({ STORAGE: `lmdb:${folder}` })])
  const again = await readConfig({ STORAGE: `lmdb:${folder}` })
  t.same(both[0].secrets, again.secrets, 'the next boot reads it')
  t.same(both[1].secrets, again.secrets, 'two boots at once agree')
  const file = join(folder, 'session-secret')
  t.equal(await readFile(file, 'utf8'), again.secrets[0])
  t.equal((await stat(file)).mode & 0o777, 0o600)
})

t.test('every variable is read', async (t) => {
  const config = await readConfig({
    NODE_ENV: 'production',
    HOST: '0.0.0.0',
    PORT: '8080',
    PREFIX: '/api/v1',
    STORAGE: 'redis://127.0.0.1:6379',
    SESSION_SECRET: `${SECRET}, ${OTHER}`,
    ADMIN_PASSWORD: 'umbrella harbour',
    ALLOWED_ORIGINS: 'https://app.example.com,http://localhost:5173',
    TRUST_PROXY: '10.0.0.0/8,::1,loopback',
    LOG_LEVEL: 'debug',
  })
  t.same(config, {
    production: true,
    host: '0.0.0.0',
    port: 8080,
    prefix: '/api/v1',
    storage: 'redis://127.0.0.1:6379',
    secrets: [SECRET, OTHER],
    adminPassword: 'umbrella harbour',
    allowedOrigins: ['https://app.example.com', 'http://localhost:5173'],
    trustProxy: ['10.0.0.0/8', '::1', 'loopback'],
    logLevel: 'debug',
  })
})

t.test('a wrong value ends the boot with one line that names the variable and repeats no secret', async (t) => {
  const wrong: Record<string, string> = {
    PORT: 'eighty',
    PREFIX: 'api/',
    STORAGE: 'mysql://u:hunter2@h/db',
    SESSION_SECRET: 'short',
    ADMIN_PASSWORD: 'short',
    ALLOWED_ORIGINS: 'https://app.example.com/path',
    TRUST_PROXY: '1',
    LOG_LEVEL: 'loud',
  }
  for (const [name, value] of Object.entries(wrong)) {
    const environment = { STORAGE: 'memory:', SESSION_SECRET: SECRET, [name]: value }
    const error: Error = await readConfig(environment).then(
      () => t.fail(name),
      (error) => error,
    )
    t.match(error, { code: 'STATEFUL_INVALID_CONFIGURATION', message: new RegExp(`^Configuration: ${name} .*must be`) })
    t.notMatch(error.message, /\n/, name)
    if (!['PORT', 'TRUST_PROXY'].includes(name)) t.notOk(error.message.includes(value), `${name} is not repeated`)
  }
})

t.test('a repeated character is no secret', (t) =>
  t.rejects(readConfig({ STORAGE: 'memory:', SESSION_SECRET: 'a'.repeat(40) }), {
    code: 'STATEFUL_INVALID_CONFIGURATION',
  }),
)

t.test('production must bring its own secret', (t) =>
  t.rejects(readConfig({ NODE_ENV: 'production', STORAGE: 'memory:' }), {
    code: 'STATEFUL_INVALID_CONFIGURATION',
    message: /SESSION_SECRET is required in production/,
  }),
)

t.test('an environment of an unknown name is production, and told', async (t) => {
  const base = { STORAGE: 'memory:', SESSION_SECRET: SECRET }
  for (const NODE_ENV of ['prod', 'staging', 'Production', 'PRODUCTION', 'production ', 'Development', 'dev', 'live']) {
    const config = await readConfig({ ...base, NODE_ENV })
    t.equal(config.production, true, NODE_ENV)
    t.match(config.notice, JSON.stringify(NODE_ENV))
    await t.rejects(readConfig({ STORAGE: 'memory:', NODE_ENV }), {
      code: 'STATEFUL_INVALID_CONFIGURATION',
      message: /SESSION_SECRET is required in production \(NODE_ENV is ".+", which is none of/,
    })
  }
  for (const [NODE_ENV, production] of [
    [undefined, false],
    ['', false],
    ['development', false],
    ['test', false],
    ['production', true],
  ] as const) {
    const config = await readConfig({ ...base, ...(NODE_ENV === undefined ? {} : { NODE_ENV }) })
    t.match(config, { production, notice: undefined }, String(NODE_ENV))
  }
})

t.test('what everybody knows is no secret of a production', async (t) => {
  const environment = { NODE_ENV: 'production', STORAGE: 'memory:' }
  const known = 'changeme-changeme-please-changeme-2024'
  const rule = /^Configuration: SESSION_SECRET is not valid; it must be .*32 characters.*placeholder.*randomBytes/
  for (const SESSION_SECRET of [known, `${SECRET},${known}`]) {
    const error: Error = await readConfig({ ...environment, SESSION_SECRET }).then(
      () => t.fail(SESSION_SECRET),
      (error) => error,
    )
    t.match(error, { code: 'STATEFUL_INVALID_CONFIGURATION', message: rule }, 'the whole rule, and how to make one')
    t.notOk(error.message.includes(known) || error.message.includes(SECRET), 'and no secret')
  }
  t.match(
    await readConfig({ STORAGE: 'memory:', SESSION_SECRET: known }),
    { secrets: [known] },
    'in development it will do',
  )

  for (const ADMIN_PASSWORD of [
    'changeme',
    'password1',
    'Admin123',
    'Passw0rd!2024',
    'letmein1234',
    'qwertyuiop',
    'aaaaaaaa',
  ]) {
    await t.rejects(
      readConfig({ ...environment, SESSION_SECRET: SECRET, ADMIN_PASSWORD }),
      { code: 'STATEFUL_INVALID_CONFIGURATION', message: /ADMIN_PASSWORD is one that everybody tries first/ },
      ADMIN_PASSWORD,
    )
  }
})

t.test('a folder that cannot be written is said', (t) =>
  t.rejects(readConfig({ STORAGE: 'lmdb:/dev/null/data' }), { code: 'STATEFUL_INVALID_CONFIGURATION' }),
)

t.test('a Cluster and Sentinels are named by one URL', async (t) => {
  for (const STORAGE of ['redis+cluster://a:1,b:2', 'rediss+sentinel://:secret@a,b:2/primary/1']) {
    t.equal((await readConfig({ STORAGE, SESSION_SECRET: SECRET })).storage, STORAGE)
  }
})

t.test('limits of live connections, and their compression, are set by the environment', async (t) => {
  const environment = { STORAGE: 'memory:', SESSION_SECRET: SECRET }
  t.equal((await readConfig(environment)).sync, undefined)
  const { sync } = await readConfig({
    ...environment,
    SYNC_MAX_PAYLOAD: '2048',
    SYNC_MAX_SUBSCRIPTIONS_PER_USER: '9',
    SYNC_COMPRESSION: 'true',
  })
  t.strictSame(sync, { maxPayload: 2048, compression: true, maxSubscriptionsPerUser: 9 })
  await t.rejects(readConfig({ ...environment, SYNC_COMPRESSION: 'gzip' }), {
    message: /SYNC_COMPRESSION is not valid.*'true' or 'false'/,
  })
  await t.rejects(readConfig({ ...environment, SYNC_MAX_PAYLOAD: '10' }), { message: /SYNC_MAX_PAYLOAD is not valid/ })
})

import { mkdir, open, readFile } from 'node:fs/promises'
import { isIP } from 'node:net'
import { join } from 'node:path'
import { type Static, Type } from '@sinclair/typebox'
import { MIN_PASSWORD_LENGTH } from './openapi/schemas/account.ts'
import { newPassword } from './plugins/accounts/credentials.ts'
import { InvalidConfigurationError } from './plugins/support/errors.ts'
import { isProduction, noticeOf } from './plugins/support/production.ts'
import { randomText } from './plugins/support/random.ts'
import { strictAjv } from './plugins/support/schemas.ts'
import { isSecret, SECRET_RULE, unexpectedCharacters } from './plugins/support/secrets.ts'
import type { SyncOptions } from './plugins/sync/options.ts'

const Environment = Type.Object({
  NODE_ENV: Type.String({ default: 'development' }),
  HOST: Type.String({ minLength: 1, default: '127.0.0.1' }),
  PORT: Type.Integer({ minimum: 0, maximum: 65_535, default: 3000 }),
  PREFIX: Type.String({ pattern: '^(/[A-Za-z0-9._~-]+)*$', default: '' }),
  STORAGE: Type.String({ pattern: '^(memory:$|lmdb:.|rediss?(\\+(cluster|sentinel))?://)', default: 'lmdb:./data' }),
  SESSION_SECRET: Type.String({ default: '' }),
  ADMIN_PASSWORD: Type.String({ default: '' }),
  ALLOWED_ORIGINS: Type.String({ default: '' }),
  TRUST_PROXY: Type.String({ default: '' }),
  MAX_CONNECTIONS: Type.Optional(Type.Integer({ minimum: 1 })),
  SYNC_MAX_PAYLOAD: Type.Optional(Type.Integer({ minimum: 1024 })),
  SYNC_COMPRESSION: Type.Optional(Type.Boolean()),
  SYNC_MAX_CONNECTIONS_PER_USER: Type.Optional(Type.Integer({ minimum: 1 })),
  SYNC_MAX_SUBSCRIPTIONS_PER_USER: Type.Optional(Type.Integer({ minimum: 1 })),
  SYNC_MAX_PRESENCES_PER_USER: Type.Optional(Type.Integer({ minimum: 1 })),
  SYNC_USER_MESSAGE_RATE: Type.Optional(Type.Integer({ minimum: 1 })),
  LOG_LEVEL: Type.Union(
    ['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'].map((level) => Type.Literal(level)),
    { default: 'info' },
  ),
})

/** What each variable must look like, for the one line that a wrong value ends the boot with. */
const EXPECTED: Record<keyof Static<typeof Environment>, string> = {
  NODE_ENV: "'production', 'development' or 'test'",
  HOST: 'a host name or address to listen on',
  PORT: 'a port number from 0 to 65535',
  PREFIX: "empty or a path such as '/api', without a slash at its end",
  STORAGE: "'memory:', 'lmdb:<folder>', 'redis://host:port' or the URL of a Cluster or of Sentinels",
  SESSION_SECRET: `one or more secrets, separated by commas, the newest first, each of them ${SECRET_RULE}`,
  ADMIN_PASSWORD: "a password of 8 to 128 characters, and in production none such as 'changeme'",
  ALLOWED_ORIGINS: "origins such as 'https://app.example.com', separated by commas",
  TRUST_PROXY: 'addresses or networks of your proxies, separated by commas',
  MAX_CONNECTIONS: 'a whole number from 1, or empty for what the limit of open files allows',
  SYNC_MAX_PAYLOAD: 'the bytes of the largest message, from 1024',
  SYNC_COMPRESSION: "'true' or 'false'",
  SYNC_MAX_CONNECTIONS_PER_USER: 'a whole number from 1',
  SYNC_MAX_SUBSCRIPTIONS_PER_USER: 'a whole number from 1',
  SYNC_MAX_PRESENCES_PER_USER: 'a whole number from 1',
  SYNC_USER_MESSAGE_RATE: 'messages a second, a whole number from 1',
  LOG_LEVEL: "'fatal', 'error', 'warn', 'info', 'debug', 'trace' or 'silent'",
}

/** Variables that are options of the plugin `sync`. */
const SYNC_VARIABLES = [
  ['SYNC_MAX_PAYLOAD', 'maxPayload'],
  ['SYNC_COMPRESSION', 'compression'],
  ['SYNC_MAX_CONNECTIONS_PER_USER', 'maxConnectionsPerUser'],
  ['SYNC_MAX_SUBSCRIPTIONS_PER_USER', 'maxSubscriptionsPerUser'],
  ['SYNC_MAX_PRESENCES_PER_USER', 'maxPresencesPerUser'],
  ['SYNC_USER_MESSAGE_RATE', 'userMessageRate'],
] as const

/** Letters and digits of the first password in production that are no part of what everybody tries first. */
const MIN_UNEXPECTED_IN_PASSWORD = 5

export interface Config {
  /** Any `NODE_ENV` but `development` and `test`, if it is set. */
  production: boolean
  /** To be logged: `NODE_ENV` is an unknown name. */
  notice?: string
  host: string
  port: number
  /** Stands before every route; empty or `/api`. */
  prefix: string
  storage: string
  /** The newest first: it signs; all of them verify. */
  secrets: string[]
  adminPassword?: string
  allowedOrigins: string[]
  trustProxy: string[]
  /** Absent: what the limit of open files allows. */
  maxConnections?: number
  /** Limits of live connections that the environment sets. */
  sync?: Pick<SyncOptions, (typeof SYNC_VARIABLES)[number][1]>
  logLevel: string
}

/**
 * The environment as typed, checked configuration. In development a missing secret is made once and kept in
 * the data folder, so that sessions survive a restart; production must bring its own.
 *
 * @throws STATEFUL_INVALID_CONFIGURATION with one line that names the variable and what it should be;
 * the value itself is never repeated, it may be a secret
 */
export async function readConfig(environment: NodeJS.ProcessEnv = process.env): Promise<Config> {
  const values = check(environment)
  const production = isProduction(values.NODE_ENV)
  const notice = noticeOf(values.NODE_ENV)
  const config: Config = {
    production,
    ...(notice ? { notice } : {}),
    host: values.HOST,
    port: values.PORT,
    prefix: values.PREFIX,
    storage: values.STORAGE,
    secrets: list(values.SESSION_SECRET),
    allowedOrigins: list(values.ALLOWED_ORIGINS),
    trustProxy: list(values.TRUST_PROXY),
    logLevel: values.LOG_LEVEL,
  }

  if (values.ADMIN_PASSWORD !== '') {
    try {
      const { length } = [...newPassword(values.ADMIN_PASSWORD)]
      if (length < MIN_PASSWORD_LENGTH) throw invalid('ADMIN_PASSWORD')
    } catch {
      throw invalid('ADMIN_PASSWORD')
    }
    if (production && unexpectedCharacters(values.ADMIN_PASSWORD) < MIN_UNEXPECTED_IN_PASSWORD) {
      throw invalid('ADMIN_PASSWORD', 'is one that everybody tries first')
    }
    config.adminPassword = values.ADMIN_PASSWORD
  }
  if (values.MAX_CONNECTIONS !== undefined) config.maxConnections = values.MAX_CONNECTIONS
  for (const [variable, option] of SYNC_VARIABLES) {
    const value = values[variable]
    if (value !== undefined) config.sync = { ...config.sync, [option]: value }
  }
  if (!config.allowedOrigins.every(isOrigin)) throw invalid('ALLOWED_ORIGINS')
  if (!config.trustProxy.every(isAddress)) {
    throw invalid('TRUST_PROXY')
  }
  if (config.secrets.length === 0) {
    if (production) throw invalid('SESSION_SECRET', `is required in production${notice ? ` (${notice})` : ''}`)
    config.secrets = [await developmentSecret(dataFolder(config.storage))]
  }
  if (!config.secrets.every((secret) => isSecret(secret, production))) throw invalid('SESSION_SECRET')
  return config
}

function check(environment: NodeJS.ProcessEnv): Static<typeof Environment> {
  // An empty variable means "not set", as in a shell.
  const data = Object.fromEntries(Object.entries(environment).filter(([, value]) => value !== ''))
  const validate = strictAjv({ coerceTypes: true, useDefaults: true }).compile<Static<typeof Environment>>(Environment)
  if (validate(data)) return data
  const name = validate.errors?.[0]?.instancePath.slice(1) as keyof typeof EXPECTED
  throw invalid(name)
}

function invalid(name: keyof typeof EXPECTED, what = 'is not valid') {
  return new InvalidConfigurationError(`${name} ${what}; it must be ${EXPECTED[name]}`)
}

function list(text: string): string[] {
  return text
    .split(',')
    .map((entry) => entry.trim())
    .filter((entry) => entry !== '')
}

function isOrigin(text: string): boolean {
  try {
    return new URL(text).origin === text
  } catch {
    return false
  }
}

/** A hop count or `true` would let a client choose its own address; lists of addresses cannot be spoofed. */
function isAddress(text: string): boolean {
  const [address = '', bits = '0', ...rest] = text.split('/')
  return (
    ['loopback', 'linklocal', 'uniquelocal'].includes(text) ||
    (isIP(address) > 0 && /^\d{1,3}$/.test(bits) && rest.length === 0)
  )
}

function dataFolder(storage: string): string {
  return storage.startsWith('lmdb:') ? storage.slice('lmdb:'.length) : './data'
}

/** Two processes that boot at the same moment agree: the first to create the file decides. */
async function developmentSecret(folder: string): Promise<string> {
  const file = join(folder, 'session-secret')
  try {
    await mkdir(folder, { recursive: true, mode: 0o700 })
    const handle = await open(file, 'wx', 0o600)
    try {
      await handle.writeFile(randomText(32))
    } finally {
      await handle.close()
    }
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== 'EEXIST') {
      throw new InvalidConfigurationError(
        `the folder '${folder}' for the development secret cannot be written: ${(cause as Error).message}`,
        { cause },
      )
    }
  }
  return (await readFile(file, 'utf8')).trim()
}

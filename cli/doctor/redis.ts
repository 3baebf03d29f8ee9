import { RedisBoard } from '../../plugins/stats/stores/redis.ts'
import { openStorage } from '../../plugins/storage/index.ts'
import { probeRedis, type ServerFacts } from '../../plugins/storage/redis/probe.ts'
import { packageVersion } from '../../plugins/support/version.ts'
import { type Check, type Finding, failure, pass, warning } from './check.ts'
import { isLoopback } from './settings.ts'

/** As the storage has it unless it is told otherwise. */
const PREFIX = 'fs:'
const OLDEST_VERSION = 7
/** Milliseconds: expiry dates are compared by both clocks. */
const SKEWED = 1_000
const FAR_OFF = 30_000
/** Milliseconds for a command; what is further away makes every request slower than it need be. */
const SLOW = 20
/** Share of `maxmemory`. */
const NEARLY_FULL = 0.9
/** Milliseconds for which numbers of another instance are believed. */
const ROSTER_LIFETIME = 15_000

const isRedis = (storage: string): boolean => /^rediss?(\+(cluster|sentinel))?:\/\//.test(storage)

export const storageKind: Check = ({ storage, production }) => {
  if (isRedis(storage) || /^lmdb:./.test(storage)) return [pass('STORAGE', storage.split(':')[0] as string)]
  if (storage !== 'memory:') {
    const cure = "Use 'lmdb:<folder>', 'redis://host:port', or 'memory:' for tests."
    return [failure('STORAGE', 'is none that there is', cure)]
  }
  if (!production) return [pass('STORAGE', 'memory: everything ends with the process')]
  return [
    warning(
      'STORAGE',
      'is memory: in production everything is lost with each restart',
      "Use 'lmdb:<folder>' or Redis.",
    ),
  ]
}

export const transport: Check = ({ storage, production }) => {
  if (!isRedis(storage) || !production) return []
  const hosts =
    storage
      .replace(/^.*@|^[^/]*\/\//, '')
      .split('/')[0]
      ?.split(',') ?? []
  if (hosts.every(isLoopback)) return []
  const findings: Finding[] = []
  if (!storage.startsWith('rediss')) {
    findings.push(
      warning('Redis transport', 'is not encrypted', 'Use rediss:// unless the network between is yours alone.'),
    )
  }
  if (!/\/\/[^/]*:[^/]+@/.test(storage)) {
    findings.push(
      warning('Redis login', 'has no password', 'Give the application a user of its own: docs/redis.md has its ACL.'),
    )
  }
  return findings
}

export const redis: Check = async ({ storage, now }) => {
  if (!isRedis(storage)) return []
  let servers: ServerFacts[]
  try {
    servers = await probeRedis(storage, PREFIX, now)
  } catch (error) {
    const { message } = error as Error
    return [failure('Redis', message, cureOf(message, storage.startsWith('rediss')))]
  }
  const kind = storage.includes('+cluster:') ? 'cluster' : 'server'
  return servers.flatMap((server) => judge(server, kind))
}

function cureOf(message: string, encrypted: boolean): string {
  if (/NOAUTH|WRONGPASS|invalid username-password|invalid password/i.test(message)) {
    return 'Put the right user and password into STORAGE: redis://user:password@host:port.'
  }
  if (/ENOTFOUND|EAI_AGAIN/.test(message)) return 'Correct the host name in STORAGE, or its DNS.'
  // A server without TLS waits for the rest of what it takes for a command.
  if (/SSL|TLS|wrong version number|ECONNRESET|certificate/i.test(message) || (encrypted && /TIMEDOUT/.test(message))) {
    return 'Use rediss:// for a server with TLS and redis:// for one without, and a certificate that this machine knows.'
  }
  if (/ECONNREFUSED/.test(message)) return 'Start Redis, and check host and port in STORAGE.'
  return 'Check host, port, scheme and firewall: STORAGE has to reach Redis within 3 seconds.'
}

function judge({ name, info, clockAhead, roundTrip, refused }: ServerFacts, kind: 'cluster' | 'server'): Finding[] {
  const number = (field: string): number => Number(info.get(field) ?? 0)
  const findings: Finding[] = [pass('Redis', `${name} answers in ${roundTrip.toFixed(0)} ms`)]
  const tell = (...found: (Finding | undefined | false)[]) => {
    for (const one of found) if (one) findings.push(one)
  }
  tell(
    roundTrip > SLOW &&
      warning(
        'Redis distance',
        `${roundTrip.toFixed(0)} ms from command to answer`,
        'Run both in one place: a request asks it several times.',
      ),
    refused.length > 0 &&
      failure(
        'Redis ACL',
        `the user may not use: ${refused.join(', ')}`,
        'Give it what docs/redis.md lists under "A user of its own".',
      ),
    ...judgeClock(clockAhead),
  )
  if (info.size === 0) {
    tell(
      warning(
        'Redis INFO',
        'is refused: version, memory and persistence cannot be looked at',
        'Allow it: ACL SETUSER <user> +info',
      ),
    )
    return findings
  }
  const version = info.get('valkey_version') ?? info.get('redis_version') ?? ''
  tell(
    info.get('valkey_version') === undefined && Number.parseInt(version, 10) < OLDEST_VERSION
      ? failure('Redis version', version, `Run Redis ${OLDEST_VERSION}.0 or newer, or Valkey.`)
      : pass('Redis version', version),
    info.get('role') === 'slave' &&
      failure(
        'Redis role',
        `${name} is a replica, which refuses writes`,
        'Name the primary, or its Sentinels: redis+sentinel://…',
      ),
    kind === 'server' &&
      info.get('cluster_enabled') === '1' &&
      failure('Redis Cluster', `${name} is a node of a Cluster`, 'Name it as one: redis+cluster://host:port,host:port'),
    judgePolicy(info.get('maxmemory_policy') ?? 'noeviction'),
    number('maxmemory') > 0 &&
      number('used_memory') > NEARLY_FULL * number('maxmemory') &&
      warning(
        'Redis memory',
        'is nearly full: writes will be refused',
        'Raise maxmemory, or delete what is not needed.',
      ),
    judgePersistence(info),
  )
  return findings
}

function judgeClock(ahead: number): Finding[] {
  const off = Math.abs(ahead)
  const found = `is ${(off / 1_000).toFixed(1)} s ${ahead > 0 ? 'ahead of' : 'behind'} this machine's`
  const cure = 'Let NTP set both clocks (timedatectl set-ntp true): sessions and tokens end by them.'
  if (off > FAR_OFF) return [failure('Redis clock', found, cure)]
  return off > SKEWED ? [warning('Redis clock', found, cure)] : [pass('Redis clock', `within ${off.toFixed(0)} ms`)]
}

function judgePolicy(policy: string): Finding {
  const cure = 'CONFIG SET maxmemory-policy noeviction, and keep it in redis.conf.'
  if (policy === 'noeviction') return pass('Redis maxmemory-policy', policy)
  if (policy.startsWith('allkeys-')) {
    return failure(
      'Redis maxmemory-policy',
      `${policy}: Redis throws state and accounts away when memory runs out`,
      cure,
    )
  }
  return warning('Redis maxmemory-policy', `${policy}: Redis ends sessions when memory runs out`, cure)
}

function judgePersistence(info: ReadonlyMap<string, string>): Finding {
  if (info.get('rdb_last_bgsave_status') === 'err' || info.get('aof_last_write_status') === 'err') {
    return failure(
      'Redis persistence',
      'the last write to its disk failed',
      "Look into Redis' log: disk full, or no rights there.",
    )
  }
  if (info.get('aof_enabled') === '1') return pass('Redis persistence', 'append-only file')
  const save = info.get('save')
  if (save === '') {
    return warning('Redis persistence', 'none: a restart of Redis loses everything', 'CONFIG SET appendonly yes')
  }
  return warning(
    'Redis persistence',
    save === undefined ? 'snapshots, if any: CONFIG is refused' : `snapshots only (${save})`,
    'CONFIG SET appendonly yes: a crash then loses a second at most.',
  )
}

/** Versions of the instances that run now: they share what is stored. */
export const instances: Check = async ({ storage: url }) => {
  if (!isRedis(url)) return []
  const storage = await openStorage(url).catch(() => undefined)
  // Another check has said why.
  if (storage?.kind !== 'redis') return []
  try {
    const others = await new RedisBoard(storage, ROSTER_LIFETIME).others()
    const versions = [...new Set(others.map(({ version = 'older than 0.1.0' }) => version))].sort()
    if (others.length === 0) return [pass('instances', 'none runs')]
    if (versions.every((version) => version === packageVersion())) {
      return [pass('instances', `${others.length} of version ${versions[0]}`)]
    }
    return [
      warning(
        'instances',
        `${others.length} of the versions ${versions.join(', ')}; here is ${packageVersion()}`,
        'Finish the upgrade: run one version on one storage, but for the minutes of a rolling restart.',
      ),
    ]
  } catch {
    return []
  } finally {
    await storage.close()
  }
}

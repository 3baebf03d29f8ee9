import { createServer } from 'node:net'
import { readConfig } from '../../config.ts'
import { noticeOf } from '../../plugins/support/production.ts'
import { isSecret } from '../../plugins/support/secrets.ts'
import { type Check, failure, listed, pass, warning } from './check.ts'

const MAKE_ONE = `Make one with: node -p "require('crypto').randomBytes(32).toString('base64url')"`
/** Milliseconds for what already listens on the port. */
const HEALTH_TIMEOUT = 2_000

export const isLoopback = (host: string): boolean => /^(localhost|127\.|::1$|\[::1\]$)/.test(host)

/** That there is nothing that the boot would end with, beside what has a check of its own. */
export const variables: Check = async ({ environment, production }) => {
  // Those with checks of their own are replaced by what is fine, so that their faults do not hide others.
  const others = {
    ...environment,
    SESSION_SECRET: SOUND,
    ADMIN_PASSWORD: '',
    ALLOWED_ORIGINS: '',
    TRUST_PROXY: '',
    STORAGE: 'memory:',
  }
  try {
    await readConfig(others)
  } catch (error) {
    const [what = 'variables', ...must] = (error as Error).message.replace(/^Configuration: /, '').split('; ')
    return [failure('variables', what, `${must.join('; ').replace(/^it must/, 'It must')}.`)]
  }
  const notice = noticeOf(environment['NODE_ENV'])
  if (notice) return [warning('NODE_ENV', notice, "Set it to 'production'.")]
  return [
    pass('NODE_ENV', production ? 'production' : 'development: cookies also over HTTP, documentation for everyone'),
  ]
}

export const sessionSecret: Check = ({ environment, production }) => {
  const secrets = listed(environment['SESSION_SECRET'])
  if (secrets.length === 0) {
    if (!production)
      return [pass('SESSION_SECRET', 'none: one is made and kept in the data folder, in development only')]
    return [failure('SESSION_SECRET', 'is missing, and production needs one', MAKE_ONE)]
  }
  const weak = secrets.findIndex((secret) => !isSecret(secret, production))
  if (weak >= 0) {
    return [
      failure('SESSION_SECRET', `secret ${weak + 1} of ${secrets.length} is short, simple or a placeholder`, MAKE_ONE),
    ]
  }
  if (!secrets.every((secret) => isSecret(secret, true))) {
    return [warning('SESSION_SECRET', 'is a placeholder, which production refuses', MAKE_ONE)]
  }
  return [pass('SESSION_SECRET', secrets.length === 1 ? 'one secret' : `${secrets.length} secrets, the first signs`)]
}

export const adminPassword: Check = async ({ environment, production }) => {
  const { ADMIN_PASSWORD = '' } = environment
  if (ADMIN_PASSWORD === '') return [pass('ADMIN_PASSWORD', 'none: one is made and shown at the first boot')]
  try {
    await readConfig({ NODE_ENV: environment['NODE_ENV'], ADMIN_PASSWORD, SESSION_SECRET: SOUND, STORAGE: 'memory:' })
    return [pass('ADMIN_PASSWORD', production ? 'is used at the first boot only: take it out afterwards' : 'is set')]
  } catch {
    return [
      failure(
        'ADMIN_PASSWORD',
        'is too short, too long or one that everybody tries first',
        'Use a passphrase of your own.',
      ),
    ]
  }
}

/** Only stands where a secret has to. */
const SOUND = 'doctor-Jx8vQ2mZr7TkWp4LbYc9HsNd3Fg6'

export const trustProxy: Check = async ({ environment, production }) => {
  const { TRUST_PROXY = '', HOST = '127.0.0.1' } = environment
  const cure =
    "Name the addresses or networks of your proxies, such as '10.0.0.0/8', or 'loopback' for one on this machine."
  if (TRUST_PROXY === '') {
    if (!production) return [pass('TRUST_PROXY', 'none: no forwarding header is believed')]
    const found = 'is empty: behind a proxy every client has its address, and HTTPS is taken for HTTP'
    return [warning('TRUST_PROXY', found, `${cure} Without a proxy it is well as it is.`)]
  }
  if (listed(TRUST_PROXY).some((entry) => /\/0+$/.test(entry))) {
    return [failure('TRUST_PROXY', 'trusts the whole internet: every client chooses its own address', cure)]
  }
  try {
    await readConfig({ TRUST_PROXY, SESSION_SECRET: SOUND, STORAGE: 'memory:' })
  } catch {
    return [failure('TRUST_PROXY', 'has an entry that is no address and no network', cure)]
  }
  return [pass('TRUST_PROXY', `${TRUST_PROXY}${isLoopback(HOST) ? '' : `, listening on ${HOST}`}`)]
}

export const allowedOrigins: Check = async ({ environment, production }) => {
  const origins = listed(environment['ALLOWED_ORIGINS'])
  const cure =
    "Write origins as browsers send them: scheme, host and port, such as 'https://app.example.com', no path and no *."
  const wrong = origins.find((origin) => !isOrigin(origin))
  if (wrong !== undefined) return [failure('ALLOWED_ORIGINS', `'${wrong}' is no origin`, cure)]
  const plain = origins.find((origin) => origin.startsWith('http://') && !isLoopback(new URL(origin).hostname))
  if (production && plain !== undefined) {
    return [warning('ALLOWED_ORIGINS', `'${plain}' is not encrypted: who is on the way acts as its user`, 'Use https.')]
  }
  return [pass('ALLOWED_ORIGINS', origins.length === 0 ? "none: only the server's own pages" : origins.join(', '))]
}

function isOrigin(text: string): boolean {
  try {
    return new URL(text).origin === text
  } catch {
    return false
  }
}

export const cookies: Check = ({ environment, production }) => {
  const { HOST = '127.0.0.1' } = environment
  if (production)
    return [pass('cookies', '__Host-, Secure, HttpOnly, SameSite=Lax: browsers keep them over HTTPS only')]
  if (isLoopback(HOST)) return [pass('cookies', 'HttpOnly, SameSite=Lax; without Secure, as this is development')]
  return [
    warning(
      'cookies',
      `are not Secure in development, and ${HOST} is reachable from elsewhere`,
      'Set NODE_ENV=production and serve it over HTTPS, or HOST=127.0.0.1.',
    ),
  ]
}

export const port: Check = async ({ environment }) => {
  const { PORT = '3000', HOST = '127.0.0.1', PREFIX = '' } = environment
  const number = Number(PORT || 3000)
  if (!Number.isInteger(number) || number < 0 || number > 65_535) return []
  const refused = await listen(number, HOST || '127.0.0.1')
  if (!refused) return [pass('port', `${HOST}:${number} is free`)]
  if (refused === 'EADDRINUSE') {
    const host = isLoopback(HOST) ? HOST : '127.0.0.1'
    const signal = AbortSignal.timeout(HEALTH_TIMEOUT)
    const health = await fetch(`http://${host}:${number}${PREFIX}/health/live`, { signal }).catch(() => undefined)
    if (health?.ok) return [pass('port', `the server runs on ${HOST}:${number}`)]
    return [failure('port', `another program listens on ${HOST}:${number}`, 'End it, or choose another PORT.')]
  }
  const cure =
    refused === 'EACCES'
      ? 'Ports below 1024 are for root: choose another PORT, and let a proxy listen there.'
      : 'Set HOST to an address of this machine: 127.0.0.1, or 0.0.0.0 for all.'
  return [failure('port', `${HOST}:${number} cannot be listened on (${refused})`, cure)]
}

/** @returns the code of what refused it; `undefined` when it could be had */
function listen(port: number, host: string): Promise<string | undefined> {
  const server = createServer()
  return new Promise((resolve) => {
    server.once('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message))
    server.listen(port, host, () => server.close(() => resolve(undefined)))
  })
}

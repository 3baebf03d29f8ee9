import { createRequire } from 'node:module'
import { randomText } from '../../plugins/support/random.ts'

interface Manifest {
  version: string
  dependencies: { [name: string]: string }
  peerDependencies: { [name: string]: string }
}

/** 256 random bits, as `SESSION_SECRET` wants them. */
const SECRET_BYTES = 32
/** 96 random bits: 16 characters that a person can type. */
const PASSWORD_BYTES = 12
/** The plugins of the starter need them, and the package leaves them to the application. */
const PEERS = ['fastify', '@fastify/static', '@fastify/swagger', '@fastify/swagger-ui', '@node-rs/argon2', 'helmet']

export interface Starter {
  /** Texts by their paths in the new folder. */
  files: Map<string, string>
  /** Of the first administrator; it is in the `.env`, too. */
  adminPassword: string
}

/** The files of a starter application. @param name of its package */
export function starter(name: string): Starter {
  const adminPassword = randomText(PASSWORD_BYTES)
  const files = new Map([
    ['package.json', `${JSON.stringify(manifestOf(name), null, 2)}\n`],
    ['app.js', APP],
    ['server.js', SERVER],
    ['test/app.test.js', TEST],
    ['.env', environment(randomText(SECRET_BYTES), adminPassword)],
    ['.env.example', environment('', '')],
    ['.gitignore', 'node_modules/\ndata/\n.env\n'],
    ['.dockerignore', 'node_modules/\ndata/\n.env\n.git/\n'],
    ['Dockerfile', DOCKERFILE],
    ['README.md', readme(name)],
  ])
  return { files, adminPassword }
}

function manifestOf(name: string): object {
  const own = createRequire(import.meta.url)('fastify-stateful/package.json') as Manifest
  const peers = PEERS.map((peer) => [peer, own.peerDependencies[peer]?.split(' || ')[0]])
  return {
    name,
    version: '0.1.0',
    private: true,
    type: 'module',
    engines: { node: '>=20.19.0' },
    scripts: {
      start: 'node --env-file=.env server.js',
      dev: 'node --env-file=.env --watch server.js',
      test: 'node --test',
      doctor: 'fastify-stateful doctor',
    },
    dependencies: {
      ...Object.fromEntries(peers),
      'close-with-grace': own.dependencies['close-with-grace'],
      'fastify-stateful': `^${own.version}`,
    },
  }
}

const environment = (
  secret: string,
  password: string,
) => `# What the server is told. Never commit it: .env.example is for that.
NODE_ENV=development
HOST=127.0.0.1
PORT=3000
# Where everything is kept: lmdb:<folder> for one process, redis://host:port for several.
STORAGE=lmdb:./data
# Signs the session cookies. For a new one put it in front, with a comma: the old one goes on verifying.
SESSION_SECRET=${secret}
# Of the first administrator, 'admin', at the first boot only.
ADMIN_PASSWORD=${password}
# Addresses or networks of your proxies, separated by commas; 'loopback' for one on this machine.
TRUST_PROXY=
`

const APP = `import Fastify from 'fastify'
import {
  accounts,
  authRoutes,
  csrf,
  dashboard,
  documentation,
  draining,
  healthRoutes,
  problems,
  security,
  serverOptions,
  sessionRoutes,
  stateful,
  stateRoutes,
  statsRoutes,
  syncRoutes,
  tokenRoutes,
  tokens,
  userRoutes,
} from 'fastify-stateful'

/**
 * The application, without a port: the server listens with it, tests inject requests into it.
 *
 * @param {{ storage: string, secret: string | string[], adminPassword?: string, trustProxy?: string[], logger?: boolean }} options
 */
export async function build({ storage, secret, adminPassword, trustProxy = [], logger = false }) {
  const app = Fastify({ ...serverOptions(), logger, trustProxy: trustProxy.length > 0 ? trustProxy : false })

  // Services, in the order in which they need each other.
  await app.register(problems)
  await app.register(security)
  await app.register(stateful, { storage, secret })
  await app.register(csrf)
  await app.register(accounts, { bootstrap: adminPassword ? { password: adminPassword } : {} })
  await app.register(tokens)
  await app.register(draining)
  await app.register(documentation, { openapi: { info: { title: 'My application', version: '0.1.0' } } })

  // Their routes. Leave out what you do not need; a \`prefix\` goes beside each.
  for (const routes of [
    ...[healthRoutes, authRoutes, sessionRoutes, userRoutes, tokenRoutes, stateRoutes, syncRoutes, statsRoutes],
    dashboard,
  ]) {
    await app.register(routes)
  }

  // Yours.
  app.get('/', async (request) => {
    request.session.visits = (request.session.visits ?? 0) + 1
    await app.state.increment('visits')
    return { yours: request.session.visits, all: app.state.get('visits') }
  })
  return app
}
`

const SERVER = `import closeWithGrace from 'close-with-grace'
import { build } from './app.js'

const { HOST = '127.0.0.1', PORT = '3000', STORAGE = 'lmdb:./data', SESSION_SECRET = '' } = process.env
const { ADMIN_PASSWORD = '', TRUST_PROXY = '' } = process.env
const list = (text) => text.split(',').filter((entry) => entry !== '')

const app = await build({
  storage: STORAGE,
  secret: list(SESSION_SECRET),
  adminPassword: ADMIN_PASSWORD,
  trustProxy: list(TRUST_PROXY),
  logger: true,
})
closeWithGrace({ delay: 10_000 }, async ({ err }) => {
  if (err) app.log.error({ err }, 'closing')
  await app.close()
})
await app.listen({ host: HOST, port: Number(PORT) })
`

const TEST = `import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import test from 'node:test'
import { cookieFor } from 'fastify-stateful/testing'
import { build } from '../app.js'

test('visits are counted, for each visitor and for all', async (t) => {
  const app = await build({ storage: 'memory:', secret: randomBytes(32).toString('base64url') })
  t.after(() => app.close())

  const first = await app.inject('/')
  assert.deepEqual(first.json(), { yours: 1, all: 1 })
  const [{ name, value }] = first.cookies
  const again = await app.inject({ url: '/', cookies: { [name]: value } })
  assert.deepEqual(again.json(), { yours: 2, all: 2 })

  assert.equal((await app.inject('/profile')).statusCode, 401)
  const cookie = await cookieFor(app, { id: 'ada' })
  assert.equal((await app.inject({ url: '/profile', headers: { cookie } })).statusCode, 200)
})
`

const DOCKERFILE = `FROM node:22-slim AS dependencies
WORKDIR /app
COPY package.json package-lock.json ./
RUN npm ci --omit=dev

FROM node:22-slim
ENV NODE_ENV=production HOST=0.0.0.0 PORT=3000 STORAGE=lmdb:/app/data
WORKDIR /app
COPY --from=dependencies /app/node_modules node_modules
COPY . .
RUN mkdir data && chown node:node data
USER node
VOLUME /app/data
EXPOSE 3000
HEALTHCHECK CMD node -e "fetch('http://127.0.0.1:3000/health/ready').then((r) => process.exit(r.ok ? 0 : 1), () => process.exit(1))"
# SESSION_SECRET and ADMIN_PASSWORD come from outside: docker run --env-file .env -e NODE_ENV=production …
CMD ["node", "server.js"]
`

const readme = (name: string) => `# ${name}

\`\`\`
npm install
npm start        http://localhost:3000, /dashboard and /docs; log in as admin with the password in .env
npm test
npm run doctor   is everything in order here, and what to do if not
\`\`\`

\`app.js\` is the application, \`server.js\` listens with it, \`.env\` is what it is told. Made by \`fastify-stateful init\`.
`

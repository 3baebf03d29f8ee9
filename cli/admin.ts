/**
 * A way back in for an administrator, where the storage is.
 *
 *   npm run admin -- reset [username]   a new password for that administrator; default `admin`
 *   npm run admin -- list               who the administrators are
 *
 * In an application: `node node_modules/fastify-stateful/dist/cli/admin.js reset`. The storage is the environment's
 * `STORAGE`, by default `lmdb:./data`. A folder of LMDB belongs to one process: stop the server first. On Redis the
 * servers may run; whoever was logged in to the account is logged out at once. See docs/accounts.md.
 */
import Fastify, { type FastifyInstance } from 'fastify'
import { accounts } from '../plugins/accounts/index.ts'
import { recoverAdministrator } from '../plugins/accounts/recovery.ts'
import { session } from '../plugins/session/index.ts'
import { storage } from '../plugins/storage/index.ts'
import { InvalidConfigurationError } from '../plugins/support/errors.ts'
import { randomText } from '../plugins/support/random.ts'

const USAGE = 'usage: admin reset [username] | admin list'
const PAGE = 500

const say = (line: string) => process.stdout.write(`${line}\n`)

async function open(url: string): Promise<FastifyInstance> {
  if (url === 'memory:') {
    throw new InvalidConfigurationError("STORAGE is 'memory:', which nobody but the server's own process has")
  }
  const app = Fastify()
  await app.register(storage, { storage: url })
  // It ends sessions and opens none, so what signs them does not matter.
  await app.register(session, { secret: randomText(32), production: false, onEviction: 'warn' })
  await app.register(accounts, { bootstrap: false })
  await app.ready()
  return app
}

async function reset(app: FastifyInstance, username: string | undefined): Promise<void> {
  const { user, password, created, ended } = await recoverAdministrator(app, username)
  say(`${created ? 'created' : 'reset'}: administrator ${user.username}, password ${password} (shown this once)`)
  if (!created) say(`ended sessions: ${ended}`)
}

async function list(app: FastifyInstance): Promise<void> {
  let cursor: string | undefined
  do {
    const page = await app.accounts.list({ limit: PAGE, ...(cursor === undefined ? {} : { cursor }) })
    for (const { username, role, disabled } of page.users) {
      if (role === 'administrator') say(`${username}${disabled ? ' (disabled)' : ''}`)
    }
    cursor = page.cursor
  } while (cursor !== undefined)
}

async function main([command, username, ...rest]: string[]): Promise<void> {
  if (rest.length > 0 || !(command === 'reset' || (command === 'list' && username === undefined))) {
    say(USAGE)
    process.exitCode = 2
    return
  }
  const app = await open(process.env['STORAGE'] || 'lmdb:./data')
  try {
    await (command === 'reset' ? reset(app, username) : list(app))
  } finally {
    await app.close()
  }
}

main(process.argv.slice(2)).catch((error: NodeJS.ErrnoException) => {
  const [reason] = error.message.split('\n')
  process.stderr.write(`admin: ${reason}${error.code ? ` [${error.code}]` : ''}\n`)
  process.exitCode = 1
})

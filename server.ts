import closeWithGrace from 'close-with-grace'
import type { FastifyInstance } from 'fastify'
import { build } from './app.ts'
import { type Config, readConfig } from './config.ts'
import { processErrors } from './plugins/process-errors/index.ts'

/** A close that takes longer is abandoned: a supervisor must not have to kill the process. */
const CLOSE_TIMEOUT = 10_000

async function main(): Promise<void> {
  const config = await readConfig()
  const app = await build({
    production: config.production,
    prefix: config.prefix,
    storage: config.storage,
    secret: config.secrets,
    ...(config.adminPassword ? { adminPassword: config.adminPassword } : {}),
    allowedOrigins: config.allowedOrigins,
    trustProxy: config.trustProxy,
    ...(config.maxConnections ? { maxConnections: config.maxConnections } : {}),
    ...(config.sync ? { sync: config.sync } : {}),
    logger: { level: config.logLevel },
  })
  if (config.notice) app.log.warn(config.notice)
  // See there why an uncaught error does not end this process.
  await app.register(processErrors)
  closeWithGrace(
    { delay: CLOSE_TIMEOUT, logger: app.log, skip: ['uncaughtException', 'unhandledRejection'] },
    async ({ err, signal }) => {
      if (err) app.log.error({ err }, 'closing')
      else app.log.info({ signal }, 'closing')
      await app.close()
    },
  )
  await app.listen({ host: config.host, port: config.port })
  welcome(app, config)
}

/** For the person at the terminal. The password goes here and nowhere else: never into the log. */
function welcome(app: FastifyInstance, config: Config): void {
  const { port } = app.server.address() as { port: number }
  const host = ['0.0.0.0', '::', '127.0.0.1'].includes(config.host) ? 'localhost' : config.host
  const url = `http://${host}:${port}${config.prefix}`
  const lines = [
    `fastify-stateful listens on ${url}`,
    `  Swagger UI     ${url}/docs`,
    `  Dashboard      ${url}/dashboard`,
    `  Storage        ${app.storage.kind}`,
  ]
  const { generatedPassword } = app.accounts
  if (generatedPassword) lines.push(`  Administrator  admin, password ${generatedPassword} (shown this once)`)
  process.stdout.write(`\n${lines.join('\n')}\n\n`)
}

main().catch((error: NodeJS.ErrnoException) => {
  const [reason] = error.message.split('\n')
  process.stderr.write(`fastify-stateful cannot start: ${reason}${error.code ? ` [${error.code}]` : ''}\n`)
  process.exit(1)
})

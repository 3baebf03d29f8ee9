import Fastify, { type FastifyInstance, type FastifyServerOptions } from 'fastify'
import { referenceDocument } from './openapi/document.ts'
import { accounts } from './plugins/accounts/index.ts'
import { audit } from './plugins/audit/index.ts'
import { connectionLimit } from './plugins/connection-limit/index.ts'
import { dashboard } from './plugins/dashboard/index.ts'
import { documentation } from './plugins/documentation/index.ts'
import { draining } from './plugins/draining/index.ts'
import { problems, type ServerSettings, serverOptions } from './plugins/problems/index.ts'
import type { AuthorizeOption } from './plugins/security/authorize.ts'
import { cors } from './plugins/security/cors.ts'
import { csrf } from './plugins/security/csrf.ts'
import { type PressureOptions, security } from './plugins/security/index.ts'
import type { StatefulOptions } from './plugins/stateful/index.ts'
import { stateful } from './plugins/stateful/index.ts'
import { sharedSerializers } from './plugins/support/serializers.ts'
import { type TokensPluginOptions, tokens } from './plugins/tokens/index.ts'
import { auditRoutes } from './routes/audit/index.ts'
import { authRoutes } from './routes/auth/index.ts'
import { cacheRoutes } from './routes/cache/index.ts'
import { healthRoutes } from './routes/health/index.ts'
import { sessionRoutes } from './routes/sessions/index.ts'
import { stateRoutes } from './routes/state/index.ts'
import { statsRoutes } from './routes/stats/index.ts'
import { syncRoutes } from './routes/sync/index.ts'
import { tokenRoutes } from './routes/tokens/index.ts'
import { userRoutes } from './routes/users/index.ts'

export interface AppOptions extends Omit<StatefulOptions, 'problems'>, AuthorizeOption, ServerSettings {
  /** Secure cookies, HSTS, documentation for administrators only. Default `false`. */
  production?: boolean
  /** Access tokens for machines. */
  tokens?: TokensPluginOptions
  /** Stands before every route, e.g. `/api`. Default none. */
  prefix?: string
  /** The first administrator's password; generated when missing. Kept if the account exists already. */
  adminPassword?: string
  /**
   * Origins besides the server's own whose pages may use the API: read answers, open a WebSocket, send unsafe requests.
   */
  allowedOrigins?: string[]
  /** Addresses or networks of proxies whose forwarding headers are believed. Default none. */
  trustProxy?: string[]
  /** Connections of all kinds at a time. Default: what the limit of open files allows. */
  maxConnections?: number
  /** When requests are refused because the process is overloaded. */
  pressure?: PressureOptions
  logger?: FastifyServerOptions['logger']
}

/** Megabyte: a state value is at most 256 KiB and a snapshot to restore should still fit. */
const BODY_LIMIT = 1_048_576
/** A key of 512 bytes, each of them percent-encoded, with room to say that a longer one is too long. */
const MAX_PARAM_LENGTH = 2_048

/** The reference server: every service and every route, in the order in which they need each other. */
export async function build(options: AppOptions): Promise<FastifyInstance> {
  const { production = false, prefix = '', authorize, logger = false, requestTimeout, ...others } = options
  const {
    adminPassword,
    allowedOrigins = [],
    trustProxy = [],
    maxConnections,
    pressure,
    tokens: tokenOptions,
    ...services
  } = others
  const app = Fastify({
    ...serverOptions(requestTimeout === undefined ? {} : { requestTimeout }),
    logger,
    trustProxy: trustProxy.length > 0 ? trustProxy : false,
    bodyLimit: BODY_LIMIT,
    // Who is still there after `draining` has waited is cut, so that a close always ends.
    forceCloseConnections: true,
    routerOptions: { maxParamLength: MAX_PARAM_LENGTH },
    schemaController: sharedSerializers(),
  })

  // Before everything that may refuse a request: a page that may not read an error takes it for a broken network.
  if (allowedOrigins.length > 0) await app.register(cors, { allowedOrigins })
  await app.register(problems)
  await app.register(connectionLimit, maxConnections ? { maxConnections } : {})
  await app.register(security, { production, ...(pressure && { pressure }) })
  await app.register(stateful, { ...services, session: { ...services.session, production } })
  await app.register(csrf, { allowedOrigins })
  await app.register(accounts, { bootstrap: adminPassword ? { password: adminPassword } : {} })
  await app.register(tokens, tokenOptions ?? {})
  await app.register(audit)
  // With what `sync` waits for its sockets, and the storage for its answers, within the 10 s that a close may take.
  await app.register(draining, { timeout: '3s' })

  const routes = { prefix, ...(authorize ? { authorize } : {}) }
  // Before the routes, which it describes, and after the sessions, which it asks who may see them.
  await app.register(documentation, { ...routes, production, openapi: referenceDocument() })
  await app.register(healthRoutes, { prefix })
  await app.register(authRoutes, { prefix })
  await app.register(sessionRoutes, routes)
  await app.register(userRoutes, routes)
  await app.register(tokenRoutes, routes)
  await app.register(stateRoutes, routes)
  await app.register(cacheRoutes, routes)
  await app.register(syncRoutes, { ...routes, allowedOrigins })
  await app.register(statsRoutes, routes)
  await app.register(auditRoutes, routes)
  await app.register(dashboard, { ...routes, production })
  return app
}

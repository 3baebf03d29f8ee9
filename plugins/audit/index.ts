import type { FastifyReply, FastifyRequest } from 'fastify'
import type { AuditEntry } from '../../openapi/schemas/audit.ts'
import { ACTIONS, type Action } from '../security/access.ts'
import { type Granted, grantedTo } from '../security/authorize.ts'
import { userOf } from '../session/user.ts'
import type {} from '../storage/index.ts'
import type { Clock } from '../support/clock.ts'
import { defineService } from '../support/define.ts'
import { clock, type Rules, readOptions } from '../support/options.ts'
import { openAudit } from './stores/open.ts'

/** What `app.audit` offers. */
export interface Audit {
  /**
   * The latest 200 changes by administrators, on all instances, the newest first.
   * @throws STATEFUL_STORAGE_UNAVAILABLE
   */
  list(): Promise<AuditEntry[]>
}

declare module 'fastify' {
  interface FastifyInstance {
    audit: Audit
  }
}

/** Options of the plugin {@link audit}. */
export interface AuditOptions {
  /** Default: the system's. */
  clock?: Clock
}

/** What each option must be, and what holds without it. @internal */
export const AUDIT_RULES = { clock } satisfies Rules<AuditOptions>

/**
 * What machines and ordinary users may be allowed to do all day. Of them it is no news, and would push everything else
 * out of the trail.
 */
const DAILY: ReadonlySet<Action> = new Set<Action>([
  'state:write',
  'sync:write',
  'cache:write',
  'cache:invalidate',
  'cache:warm',
])

/**
 * The audit trail: each request that was allowed to change what by default only administrators may is logged, and the
 * latest 200 are kept in the storage. The entry is there before the answer. A live connection's writes are not in it:
 * they are in the history of their space. Register it before the routes.
 */
export const audit = defineService<AuditOptions>(
  'audit',
  async (fastify, options) => {
    const { clock } = readOptions(AUDIT_RULES, options, 'audit')
    const log = fastify.log.child({ plugin: 'audit' })
    const store = openAudit(fastify.storage)
    fastify.decorate<Audit>('audit', { list: () => store.list() })

    fastify.addHook('onSend', (request, reply, payload, done) => {
      const entries = [...grantedTo(request)].filter((granted) => isNews(request, granted))
      if (entries.length === 0) return done(null, payload)
      record(request, reply, entries).then(
        () => done(null, payload),
        (error: unknown) => {
          // It has happened: an answer that told otherwise would be wrong.
          log.error({ err: error }, 'the audit trail cannot be written')
          done(null, payload)
        },
      )
    })

    async function record(request: FastifyRequest, reply: FastifyReply, entries: Granted[]): Promise<void> {
      const { accessToken } = request as { accessToken?: { name: string } | null }
      const user = userOf(request)
      const by = accessToken?.name ?? user?.username ?? user?.id ?? 'anonymous'
      for (const { action, resources } of entries) {
        const kind = Object.keys(resources[0] ?? {}).join(' ')
        const status = reply.statusCode
        log.info({ action, by, resource: kind, status }, 'administrative action')
        const named = resources.map((one) => ({ ...one }) as { [name: string]: string })
        await store.append({ at: clock.now(), action, by, byToken: !!accessToken, resources: named, status })
      }
    }
  },
  { decorators: { fastify: ['storage'] } },
)

function isNews(request: FastifyRequest, { action }: Granted): boolean {
  if (ACTIONS[action].allowed !== 'administrator') return false
  if (!DAILY.has(action)) return true
  return !(request as { accessToken?: unknown }).accessToken && userOf(request)?.role === 'administrator'
}

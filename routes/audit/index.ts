import { AuditEntry, AuditTrail } from '../../openapi/schemas/audit.ts'
import { Problem } from '../../openapi/schemas/problem.ts'
import { problems, reference } from '../../openapi/schemas/responses.ts'
import { asks } from '../../openapi/security.ts'
import type {} from '../../plugins/audit/index.ts'
import { useProblems } from '../../plugins/problems/index.ts'
import { AUTHORIZE_RULES, type AuthorizeOption, demand } from '../../plugins/security/authorize.ts'
import { defineRoutes } from '../../plugins/support/define-routes.ts'
import { readOptions } from '../../plugins/support/options.ts'
import { useSchemas } from '../../plugins/support/schemas.ts'

/** `GET /audit`: what administrators have changed lately. */
export const auditRoutes = defineRoutes<AuthorizeOption>(
  'audit',
  async (fastify, options) => {
    const { authorize } = readOptions(AUTHORIZE_RULES, options, 'auditRoutes')
    useSchemas(fastify, Problem, AuditEntry, AuditTrail)
    useProblems(fastify)

    fastify.get(
      '/audit',
      {
        schema: {
          operationId: 'listAudit',
          tags: ['audit'],
          summary: 'What administrators have changed lately',
          description:
            'The latest 200 requests, on all instances, that were allowed to change what by default only administrators may. Writes of state and cache are there when an administrator made them in a session; what a live connection wrote is in the history of its space.',
          security: asks('audit:read'),
          response: { 200: reference(AuditTrail), ...problems(401, 403, 429) },
        },
        preValidation: (request) => demand(authorize, request, 'audit:read', { scope: 'cluster' }),
      },
      async (_request, reply) => {
        reply.header('cache-control', 'no-store')
        return { entries: await fastify.audit.list() }
      },
    )
  },
  { decorators: { fastify: ['audit'] } },
)

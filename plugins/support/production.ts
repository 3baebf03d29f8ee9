import type { FastifyInstance } from 'fastify'

/** Where developers are among themselves. Everything else is production, whatever it is called. */
const DEVELOPMENT: ReadonlySet<string> = new Set(['', 'development', 'test'])

/** Applications that have been told; several plugins ask. */
const told = new WeakSet<object>()

/** Whether an environment of that name is one to be careful in. Default: the one that `NODE_ENV` names. */
export function isProduction(name = process.env['NODE_ENV'] ?? ''): boolean {
  return !DEVELOPMENT.has(name)
}

/** What to say of a `NODE_ENV` with an unknown name; `undefined` when the name is known. */
export function noticeOf(name = process.env['NODE_ENV'] ?? ''): string | undefined {
  if (name === 'production' || DEVELOPMENT.has(name)) return undefined
  return `NODE_ENV is ${JSON.stringify(name.slice(0, 64))}, which is none of 'production', 'development' and 'test': taken for production`
}

/** Whether this application runs in production: what the option says, else `NODE_ENV`; an unknown name is logged. */
export function inProduction(option: boolean | undefined, fastify: FastifyInstance): boolean {
  if (option !== undefined) return option
  const notice = noticeOf()
  if (notice && !told.has(fastify.server)) {
    told.add(fastify.server)
    fastify.log.warn(notice)
  }
  return isProduction()
}

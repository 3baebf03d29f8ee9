import { createHash } from 'node:crypto'
import type { FastifyReply } from 'fastify'

export interface CachedAnswer {
  headers: Record<string, string | string[]>
  body: string | Buffer
  etag: string
  /** Wall clock, ms. */
  at: number
}

export type ReplyHeaders = ReturnType<FastifyReply['getHeaders']>

/** Belong to one connection, one moment or one client, or are told anew with each answer. */
const NOT_KEPT = new Set(
  (
    'age connection content-length date etag keep-alive proxy-authenticate server-timing set-cookie trailer ' +
    'transfer-encoding upgrade vary www-authenticate'
  ).split(' '),
)
/** A 304 has no content that they could describe. */
const OF_CONTENT = ['content-type', 'content-length', 'content-encoding', 'content-language', 'content-range']
/**
 * What an answer may say that it depends on without being told apart by it, if a hook has said so before the handler
 * ran: CORS and compression do their work around the cache, with each answer anew.
 */
const AROUND = new Set(['origin', 'accept-encoding'])

/**
 * Only what is the same for everybody who has the same key: a success, without a cookie, not forbidden by its maker,
 * and depending on no header that the key does not hold.
 *
 * @param before headers that were set when the handler began
 * @param named headers that the key holds
 */
export function isCacheable(reply: FastifyReply, before: ReplyHeaders, named: readonly string[]): boolean {
  if (reply.statusCode !== 200 || reply.hasHeader('set-cookie')) return false
  if (/\b(no-store|no-cache|private)\b|max-?age\s*=\s*"?0+\b/i.test(`${reply.getHeader('cache-control') ?? ''}`))
    return false
  const around = new Set(fieldNames(before['vary']).filter((name) => AROUND.has(name)))
  // Whoever has chosen an encoding by what the request accepts has not left that to compression.
  if (reply.hasHeader('content-encoding')) around.delete('accept-encoding')
  return fieldNames(reply.getHeader('vary')).every((name) => named.includes(name) || around.has(name))
}

/** What the handler has answered: its body, and those headers that no hook sets again with the next answer. */
export function toAnswer(reply: FastifyReply, body: string | Buffer, before: ReplyHeaders): CachedAnswer {
  const headers: CachedAnswer['headers'] = {}
  for (const [name, value] of Object.entries(reply.getHeaders())) {
    if (value === undefined || value === before[name] || NOT_KEPT.has(name)) continue
    headers[name] = Array.isArray(value) ? value.map(String) : `${value}`
  }
  // A weak one: what compresses the answer afterwards leaves it as it is.
  const etag = reply.getHeader('etag') ?? `W/"${createHash('sha256').update(body).digest('base64url').slice(0, 27)}"`
  return { headers, body, etag: `${etag}`, at: Date.now() }
}

export function removeContentHeaders(reply: FastifyReply): void {
  for (const name of OF_CONTENT) reply.removeHeader(name)
}

/** Adds to `Vary` and keeps what others have put there. */
export function addVary(reply: FastifyReply, names: readonly string[]): void {
  const there = fieldNames(reply.getHeader('vary'))
  const all = [...new Set([...there, ...names])]
  if (all.length > 0) reply.header('vary', all.includes('*') ? '*' : all.join(', '))
}

function fieldNames(vary: ReplyHeaders[string]): string[] {
  return `${vary ?? ''}`
    .toLowerCase()
    .split(',')
    .map((name) => name.trim())
    .filter((name) => name !== '')
}

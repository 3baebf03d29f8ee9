import { createHash } from 'node:crypto'
import type { FastifyRequest } from 'fastify'
import { MAX_KEY_BYTES } from '../cache/names.ts'
import type { RouteCache } from './index.ts'

/** Headers that tell who asks: without them in the key an answer could be somebody else's. */
const PERSONAL = ['cookie', 'authorization']

/**
 * The key of a request, or `undefined` when its answer must not be shared: it carries something that the handler may
 * read and that the key would not hold.
 */
export function keyOf(
  request: FastifyRequest,
  { query = [], vary = [], shared = false }: RouteCache,
): string | undefined {
  const named = vary.map((name) => name.toLowerCase())
  if (!shared && PERSONAL.some((name) => request.headers[name] !== undefined && !named.includes(name))) return undefined
  const asked = new URLSearchParams(request.url.split('?')[1] ?? '')
  for (const name of asked.keys()) if (!query.includes(name)) return undefined
  const parts = [
    ...[...query].sort().map((name) => [name, ...asked.getAll(name)]),
    ...named.sort().map((name) => [`${name}:`, `${request.headers[name] ?? ''}`]),
  ]
  const path = request.url.split('?')[0] as string
  const digest = createHash('sha256').update(JSON.stringify(parts)).digest('base64url')
  const key = `${request.method} ${path} ${digest}`
  if (Buffer.byteLength(key) <= MAX_KEY_BYTES) return key
  return `${request.method} ${createHash('sha256').update(key).digest('base64url')}`
}

import type { FastifyReply } from 'fastify'

/** Header fields by their names in lower case. */
export type HeaderFields = Record<string, string | string[] | number | undefined>

export type KeptFields = Record<string, string | string[]>

/** Of one connection (RFC 9110 §7.6.1), of one moment, or told by the cache itself with each answer. */
const NOT_KEPT = new Set(
  (
    'age cache-status cdn-cache-status connection content-length keep-alive proxy-authenticate proxy-authentication-info ' +
    'proxy-authorization proxy-connection server-timing set-cookie te trailer transfer-encoding upgrade vary ' +
    'www-authenticate'
  ).split(' '),
)
/** Describe the content that is stored: a 304 changes none of them (RFC 9111 §3.2). */
const OF_STORED_CONTENT = new Set(['content-encoding', 'content-md5', 'content-range', 'etag'])
/** A 304 has no content that they could describe. */
export const OF_CONTENT = ['content-type', 'content-length', 'content-encoding', 'content-language', 'content-range']
/**
 * What an answer may say that it depends on without being told apart by it, if a hook has said so before the handler
 * ran: CORS and compression do their work around the cache, for each answer.
 */
const AROUND = new Set(['origin', 'accept-encoding'])

/**
 * The headers of a handler's answer that go to later requests: end to end, and of no hook and no connection.
 *
 * @param before what hooks had set when the handler began
 * @param hooked names of what they have set since it has answered
 */
export function keptFields(headers: HeaderFields, before: HeaderFields, hooked: ReadonlySet<string>): KeptFields {
  const kept: KeptFields = {}
  const named = new Set([...fieldNames(headers['connection']), ...qualifiedNames(headers['cache-control'])])
  for (const [name, value] of Object.entries(headers)) {
    if (value === undefined || value === before[name] || NOT_KEPT.has(name)) continue
    if (named.has(name) || hooked.has(name)) continue
    kept[name] = Array.isArray(value) ? value.map(String) : `${value}`
  }
  return kept
}

/** What a 304 changes of a stored answer's headers (RFC 9111 §3.2). */
export function updatedFields(stored: KeptFields, told: KeptFields): KeptFields {
  const changes = Object.entries(told).filter(([name]) => !OF_STORED_CONTENT.has(name))
  return { ...stored, ...Object.fromEntries(changes) }
}

/** `no-cache="a, b"`: these fields may not be used again without asking their maker. */
function qualifiedNames(cacheControl: HeaderFields[string]): string[] {
  const [, names = ''] = /\bno-cache\s*=\s*"([^"]*)"/i.exec(`${cacheControl ?? ''}`) ?? []
  return fieldNames(names)
}

/**
 * Names of request headers that the answer depends on, beside those that hooks care for.
 *
 * @param before headers that were set when the handler began
 */
export function dependencies(headers: HeaderFields, before: HeaderFields): string[] {
  const around = new Set(fieldNames(before['vary']).filter((name) => AROUND.has(name)))
  // A handler that has chosen an encoding by what the request accepts has not left that to compression.
  if (isEncoded(headers)) around.delete('accept-encoding')
  return fieldNames(headers['vary']).filter((name) => !around.has(name))
}

export function isEncoded(headers: HeaderFields): boolean {
  const encoding = `${headers['content-encoding'] ?? ''}`.trim().toLowerCase()
  return encoding !== '' && encoding !== 'identity'
}

/** The head of an answer when every hook has run. */
export interface Head {
  get(name: string): HeaderFields[string]
  set(name: string, value: string): void
  remove(name: string): void
}

/** Calls `change` right before the head is written. */
export function beforeHead({ raw }: FastifyReply, change: (head: Head) => void): void {
  const { writeHead } = raw
  raw.writeHead = ((...args: Parameters<typeof writeHead>) => {
    const given = args.at(-1)
    // Fastify gives them here, or has set them before when it sends a stream.
    const fields = (typeof given === 'object' && !Array.isArray(given) ? given : {}) as Record<string, string>
    change({
      get: (name) => fields[name] ?? raw.getHeader(name),
      set: (name, value) => {
        if (name in fields) fields[name] = value
        else raw.setHeader(name, value)
      },
      remove: (name) => {
        delete fields[name]
        raw.removeHeader(name)
      },
    })
    return writeHead.apply(raw, args)
  }) as typeof writeHead
}

/** Takes back what the handler has set, and leaves what hooks have. */
export function resetHeaders(reply: FastifyReply, before: HeaderFields, hooked: ReadonlySet<string>): void {
  for (const [name, value] of Object.entries(reply.getHeaders())) {
    if (value === before[name] || hooked.has(name)) continue
    reply.removeHeader(name)
    if (before[name] !== undefined) reply.header(name, before[name])
  }
}

/** Adds to `Vary` and keeps what others have put there, to the letter. */
export function addVary(reply: FastifyReply, names: readonly string[]): void {
  const field = reply.getHeader('vary')
  const there = new Set(fieldNames(field))
  const added = [...new Set(names)].filter((name) => !there.has(name))
  if (added.length === 0 || there.has('*')) return
  reply.header('vary', there.size === 0 ? added.join(', ') : `${field}, ${added.join(', ')}`)
}

/** Names in a list of them, in lower case. */
export function fieldNames(list: HeaderFields[string]): string[] {
  return `${list ?? ''}`
    .toLowerCase()
    .split(',')
    .map((name) => name.trim())
    .filter((name) => name !== '')
}

/** Fields of messages that say where something is or what is done, never what it is. */
const PLAIN: ReadonlySet<string> = new Set([
  ...['type', 'space', 'key', 'prefix', 'op', 'mode', 'leave'],
  ...['epoch', 'prev', 'revision', 'seq', 'part', 'more'],
  ...['code', 'request', 'outcome', 'retry', 'retryAfter', 'protocol', 'heartbeat'],
])
/** Fields that hold such fields. */
const NESTED: ReadonlySet<string> = new Set(['since', 'ops', 'changes'])
/** Of a list, the first so many are shown. */
const MAX_ITEMS = 10

/** A message without what it carries: values, tokens and ids of clients are replaced by their type and size. */
export function redacted(message: object): Record<string, unknown> {
  const shown = Object.entries(message).map(([name, value]) => {
    if (NESTED.has(name) && typeof value === 'object' && value !== null) {
      if (!Array.isArray(value)) return [name, redacted(value)]
      const items = value.slice(0, MAX_ITEMS).map((item) => (isObject(item) ? redacted(item) : sizeOf(item)))
      return [name, value.length > MAX_ITEMS ? [...items, { left: value.length - MAX_ITEMS }] : items]
    }
    return [name, PLAIN.has(name) && !isObject(value) ? value : sizeOf(value)]
  })
  return Object.fromEntries(shown)
}

function sizeOf(value: unknown): { type: string; bytes: number } {
  const type = value === null ? 'null' : Array.isArray(value) ? 'array' : typeof value
  return { type, bytes: Buffer.byteLength(JSON.stringify(value) ?? '') }
}

const isObject = (value: unknown): value is object => typeof value === 'object' && value !== null

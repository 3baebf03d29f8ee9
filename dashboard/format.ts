const integer = new Intl.NumberFormat('en', { maximumFractionDigits: 0 })
const decimal = new Intl.NumberFormat('en', { maximumFractionDigits: 2 })
const tenths = new Intl.NumberFormat('en', { maximumFractionDigits: 1 })
const compact = new Intl.NumberFormat('en', { notation: 'compact', maximumFractionDigits: 1 })

export const UNKNOWN = '–'

type Value = number | null | undefined
const known = (value: Value, format: (value: number) => string): string => (value == null ? UNKNOWN : format(value))

export const formatCount = (value: Value): string =>
  known(value, (n) => (n < 100_000 ? (Number.isInteger(n) ? integer : decimal).format(n) : compact.format(n)))

export const formatRate = (value: Value): string => known(value, (n) => `${tenths.format(n * 100)} %`)

export const formatPerSecond = (value: Value): string => known(value, (n) => `${formatCount(n)}/s`)

export const formatMilliseconds = (value: Value): string =>
  known(value, (n) => (n < 1_000 ? `${decimal.format(n)} ms` : `${decimal.format(n / 1_000)} s`))

export const formatBytes = (value: Value): string =>
  known(value, (n) => {
    const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB']
    const power = n < 1 ? 0 : Math.min(Math.floor(Math.log2(n) / 10), units.length - 1)
    return `${tenths.format(n / 1024 ** power)} ${units[power]}`
  })

export const formatDuration = (seconds: Value): string =>
  known(seconds, (n) => {
    if (n < 120) return `${integer.format(n)} s`
    if (n < 7_200) return `${integer.format(n / 60)} min`
    if (n < 172_800) return `${decimal.format(n / 3_600)} h`
    return `${decimal.format(n / 86_400)} d`
  })

const BYTES = new Set(['bytes', 'rss', 'heapTotal', 'heapUsed', 'external', 'buffered'])
const MILLISECONDS = new Set(['p50', 'p95', 'p99', 'max', 'sum', 'meanLoadTime'])

/** A number of the statistics by the name of its field. */
export function formatField(field: string, value: unknown): string {
  if (typeof value === 'boolean') return value ? 'yes' : 'no'
  if (typeof value !== 'number') return String(value)
  if (field.endsWith('Rate') || field === 'utilization') return formatRate(value)
  if (field === 'uptime') return formatDuration(value)
  if (BYTES.has(field)) return formatBytes(value)
  if (MILLISECONDS.has(field)) return formatMilliseconds(value)
  return formatCount(value)
}

/** `l1HitRate` → `l1 hit rate` */
export function words(field: string): string {
  return field.replace(/([a-z0-9])([A-Z])/g, (_, before: string, after: string) => `${before} ${after.toLowerCase()}`)
}

const moments = new Intl.DateTimeFormat(undefined, { dateStyle: 'short', timeStyle: 'medium' })

/** @param at milliseconds since the Unix epoch, or ISO 8601 */
export const formatMoment = (at: number | string): string => moments.format(new Date(at))

/** How long ago it was. @param at milliseconds since the Unix epoch, or ISO 8601 */
export const formatAge = (at: number | string, now = Date.now()): string =>
  `${formatDuration(Math.max(0, (now - new Date(at).getTime()) / 1_000))} ago`.replaceAll(' ', '\u00a0')

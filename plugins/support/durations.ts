import ms, { type StringValue } from 'ms'
import { InvalidDurationError } from './errors.ts'
import { MAX_DURATION } from './numbers.ts'

/** Milliseconds, or a string such as `'5m'`, `'1.5h'` or `'250ms'`. */
export type Duration = number | string

/**
 * Milliseconds of a duration.
 * @param option the option's name, for the error message
 * @throws STATEFUL_INVALID_DURATION when it is not a duration from 0 to a hundred years
 */
export function milliseconds(duration: Duration, option: string): number {
  const value = typeof duration === 'string' ? parse(duration) : duration
  // Also refuses NaN, and what is no number at all.
  if (!(typeof value === 'number' && value >= 0 && value <= MAX_DURATION))
    throw new InvalidDurationError(option, told(duration))
  return value
}

/** A value as a message shows it: short, of any kind. */
export function told(value: unknown): string {
  if (typeof value === 'string') return `'${value.slice(0, 100)}'`
  if (typeof value === 'function') return 'a function'
  if (typeof value === 'object' && value !== null) return Array.isArray(value) ? 'a list' : 'an object'
  return String(value).slice(0, 100)
}

function parse(text: string): number {
  // ms() throws on an empty or very long string and answers undefined to any other text that is no duration.
  if (text.length === 0 || text.length > 100) return Number.NaN
  return ms(text as StringValue) ?? Number.NaN
}

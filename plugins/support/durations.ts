import ms, { type StringValue } from 'ms'
import { InvalidDurationError } from './errors.ts'

/** Milliseconds, or a string such as `'5m'`, `'1.5h'` or `'250ms'`. */
export type Duration = number | string

/**
 * Milliseconds of a duration.
 * @param option the option's name, for the error message
 * @throws STATEFUL_INVALID_DURATION when it is not a finite, non-negative duration
 */
export function milliseconds(duration: Duration, option: string): number {
  const value = typeof duration === 'number' ? duration : parse(duration)
  if (!Number.isFinite(value) || value < 0) throw new InvalidDurationError(option, JSON.stringify(duration))
  return value
}

function parse(text: string): number {
  // ms() throws on an empty or very long string and answers undefined to any other text that is no duration.
  if (text.length === 0 || text.length > 100) return Number.NaN
  return ms(text as StringValue) ?? Number.NaN
}

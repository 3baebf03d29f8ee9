import { type Clock, systemClock } from './clock.ts'
import { type Duration, milliseconds, told } from './durations.ts'
import { InvalidOptionError } from './errors.ts'
import { unknownOption } from './option-names.ts'

/**
 * Reads one option: what was given, checked, or what holds without it.
 * @param option its name as the application sees it (`cache.l1.ttl`), for the message
 * @throws STATEFUL_INVALID_OPTION, STATEFUL_INVALID_DURATION
 */
export type Rule<Value> = (given: unknown, option: string) => Value

/** A rule for each option there is, no more and no fewer, which the compiler sees to; options may hold options. */
export type Rules<Options> = {
  [Name in keyof Options]-?: Rule<unknown> | Rules<Extract<Options[Name], object>>
}

type ValueOf<Part> = Part extends Rule<infer Value> ? Value : Read<Part>
type Missing<Table> = {
  [Name in keyof Table]: Table[Name] extends Rule<infer Value> ? (undefined extends Value ? Name : never) : never
}[keyof Table]

/** What {@link readOptions} makes of the options: what has no default is there only if it was given. */
export type Read<Table> = {
  [Name in Exclude<keyof Table, Missing<Table>>]: ValueOf<Table[Name]>
} & { [Name in Missing<Table>]?: Exclude<ValueOf<Table[Name]>, undefined> }

interface Table {
  [name: string]: Rule<unknown> | Table
}

const NONE: ReadonlySet<string> = new Set()
/** What Fastify's `register` takes from the options of any plugin. */
const OF_REGISTER: ReadonlySet<string> = new Set(['prefix', 'logLevel', 'logSerializers'])
const namesOf = new WeakMap<object, ReadonlySet<string>>()

/**
 * All options of a plugin or a call, checked and with their defaults.
 *
 * @param path what stands before their names in messages, such as `cache`
 * @throws STATEFUL_INVALID_OPTION, also for one that there is none of; STATEFUL_INVALID_DURATION
 *
 * @example
 * ```ts
 * const rules = { keys: wholeNumber(500, 0), l1: { ttl: duration('5m') } } satisfies Rules<ExampleOptions>
 * readOptions(rules, { l1: { ttl: '1m' } }, 'example') // { keys: 500, l1: { ttl: 60_000 } }
 * readOptions(rules, { l1: { tll: '1m' } }, 'example') // Unknown option 'example.l1.tll'. Did you mean
 * 'example.l1.ttl'?
 * ```
 */
export function readOptions<Of extends object>(rules: Of, options: unknown, path = ''): Read<Of> {
  return readSection(rules, options, path, OF_REGISTER)
}

function readSection<Of extends object>(
  rules: Of,
  options: unknown,
  path: string,
  ignored: ReadonlySet<string>,
): Read<Of> {
  const given = options === undefined ? {} : options
  if (typeof given !== 'object' || given === null || Array.isArray(given)) {
    throw invalidOption(path, `must be an object of options, not ${told(given)}.`)
  }
  const inside = path === '' ? '' : `${path}.`
  refuseUnknown(given, knownNames(rules), inside, ignored)
  const read: Record<string, unknown> = {}
  for (const [name, rule] of Object.entries(rules as Table)) {
    const value = (given as Record<string, unknown>)[name]
    const result =
      typeof rule === 'function' ? rule(value, inside + name) : readSection(rule, value, inside + name, NONE)
    if (result !== undefined) read[name] = result
  }
  return read as Read<Of>
}

/**
 * Refuses unknown options, and checks nothing else: for calls, whose options are read where they are used.
 * @throws STATEFUL_INVALID_OPTION
 */
export function refuseUnknown(options: object, known: ReadonlySet<string>, path = '', ignored = NONE): void {
  const refusal = unknownOption(options, known, path, ignored)
  if (refusal !== undefined) throw new InvalidOptionError(refusal)
}

/** The names of all options of a type; the compiler sees to it that none is missing and none is of another. */
export function namesFor<Options>(names: { [Name in keyof Options]-?: true }): ReadonlySet<string> {
  return new Set(Object.keys(names))
}

function knownNames(rules: object): ReadonlySet<string> {
  const known = namesOf.get(rules) ?? new Set(Object.keys(rules))
  namesOf.set(rules, known)
  return known
}

/** "Option 'x' must be …": everything that is wrong with the value of an option is said like this. */
export function invalidOption(option: string, fault: string): Error {
  return new InvalidOptionError(`Option '${option}' ${fault}`)
}

/** A count or a size. Default: a number, or something that stands for "none was given". */
export function wholeNumber<Default>(byDefault: Default, least = 1): Rule<number | Default> {
  const what = least === 1 ? 'a whole number above 0' : `a whole number from ${least}`
  return (given, option) => {
    if (given === undefined) return byDefault
    if (typeof given === 'number' && Number.isSafeInteger(given) && given >= least) return given
    throw invalidOption(option, `must be ${what}, not ${told(given)}.`)
  }
}

export interface Bounds {
  /** Default: anything above 0. */
  least?: Duration
  most?: Duration
}

/** A length of time, in milliseconds once it is read. */
export function duration<Default extends Duration | undefined>(
  byDefault: Default,
  bounds: Bounds = {},
): Rule<number | Extract<Default, undefined>> {
  return (given, option) => {
    const value = given === undefined ? byDefault : (given as Duration)
    if (value === undefined) return undefined as Extract<Default, undefined>
    return checkedDuration(value, option, bounds)
  }
}

/** @throws STATEFUL_INVALID_OPTION, STATEFUL_INVALID_DURATION */
export function checkedDuration(value: Duration, option: string, { least, most }: Bounds = {}): number {
  const ms = milliseconds(value, option)
  if (least === undefined && ms <= 0) throw invalidOption(option, `must be a duration above 0, not ${told(value)}.`)
  const tooShort = least !== undefined && ms < milliseconds(least, option)
  const tooLong = most !== undefined && ms > milliseconds(most, option)
  if (tooShort || tooLong) {
    const bound = tooShort ? `at least ${told(least)}` : `at most ${told(most)}`
    throw invalidOption(option, `must be ${bound}, not ${told(value)}.`)
  }
  return ms
}

export function flag<Default>(byDefault: Default): Rule<boolean | Default> {
  return (given, option) => {
    if (given === undefined) return byDefault
    if (typeof given === 'boolean') return given
    throw invalidOption(option, `must be true or false, not ${told(given)}.`)
  }
}

/** One of a few words. */
export function choice<const Word extends string, Default extends NoInfer<Word> | undefined>(
  words: readonly Word[],
  byDefault: Default,
): Rule<Word | Default> {
  return (given, option) => {
    if (given === undefined) return byDefault
    if (words.includes(given as Word)) return given as Word
    throw invalidOption(option, `must be ${list(words)}, not ${told(given)}.`)
  }
}

export function text<Default>(byDefault: Default): Rule<string | Default> {
  return (given, option) => {
    if (given === undefined) return byDefault
    if (typeof given === 'string') return given
    throw invalidOption(option, `must be a text, not ${told(given)}.`)
  }
}

/** Several texts, none of them empty. */
export function texts(byDefault: readonly string[] = []): Rule<string[]> {
  return (given, option) => {
    if (given === undefined) return [...byDefault]
    if (Array.isArray(given) && given.every((one) => typeof one === 'string' && one !== '')) return [...given]
    throw invalidOption(option, 'must be a list of texts, none of them empty.')
  }
}

/** Origins as browsers tell them. */
export const origins: Rule<string[]> = (given, option) => {
  const read = texts()(given, option)
  if (read.every((origin) => URL.canParse(origin) && new URL(origin).origin === origin)) return read
  throw invalidOption(option, "must be a list of origins such as 'https://app.example.com'.")
}

/** A function, or an object with methods, that the application brings. */
export function supplied<Value>(): Rule<Value | undefined> {
  return (given, option) => {
    if (given === undefined || typeof given === 'function') return given as Value | undefined
    if (typeof given === 'object' && given !== null) return given as Value
    throw invalidOption(option, `must be a function or an object, not ${told(given)}.`)
  }
}

export const clock: Rule<Clock> = (given, option) => supplied<Clock>()(given, option) ?? systemClock

/** What another package checks, or the code that uses it. */
export function asGiven<Value>(): Rule<Value | undefined> {
  return (given) => given as Value | undefined
}

const list = (words: readonly string[]): string =>
  `${words
    .slice(0, -1)
    .map((word) => `'${word}'`)
    .join(', ')} or '${words.at(-1)}'`

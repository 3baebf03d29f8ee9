/** Options that several commands have. */
import { InvalidArgumentError, Option } from '@commander-js/extra-typings'
import type { Json } from '../openapi/schemas/state.ts'

export interface JsonOption {
  json?: true | undefined
}

export interface StorageOption {
  storage: string
}

/** With `url` a command asks the server that runs there, else it opens the storage. */
export interface TargetOptions extends StorageOption {
  url?: string | undefined
  token?: string | undefined
}

export const DEFAULT_STORAGE = 'lmdb:./data'

export const jsonOption = () => new Option('--json', 'print JSON for programs')

export const storageOption = () =>
  new Option('--storage <url>', 'storage, such as lmdb:./data or redis://localhost:6379')
    .env('STORAGE')
    .default(DEFAULT_STORAGE)

export const urlOption = () =>
  new Option('--url <url>', 'ask the server that runs there instead of the storage').env('STATEFUL_URL')

export const tokenOption = () => new Option('--token <token>', 'access token for the server').env('STATEFUL_TOKEN')

export const spaceOption = () => new Option('--space <name>', 'space of the key').default('app')

export function wholeNumber(text: string): number {
  const number = Number(text)
  if (!/^\d+$/.test(text) || !Number.isSafeInteger(number)) throw new InvalidArgumentError('It is no whole number.')
  return number
}

/** The value of a key, as text of JSON. */
export function jsonValue(text: string): Json {
  try {
    return JSON.parse(text)
  } catch {
    throw new InvalidArgumentError(`It is no JSON. A text has quotes of its own: '"${text.slice(0, 40)}"'.`)
  }
}

import { StorageCorruptError } from '../../support/errors.ts'
import { type LogState, MOST_DAMAGE } from './contract.ts'

/** Tells what a load of the log had to leave out: counted, and said once, however often the log is loaded. */
export class Damage {
  readonly #space: string
  readonly #onError: (error: unknown, what: string) => void
  #told: readonly string[] = []
  count = 0

  constructor(space: string, onError: (error: unknown, what: string) => void) {
    this.#space = space
    this.#onError = onError
  }

  note({ damage = [] }: Pick<LogState, 'damage'>): void {
    const news = damage.filter((line) => !this.#told.includes(line))
    if (news.length === 0) return
    this.count += news.length
    this.#told = [...this.#told, ...news].slice(-2 * MOST_DAMAGE)
    const error = new StorageCorruptError(`space '${this.#space}': ${news.join('; ')}`, 'Everything else is in use.')
    this.#onError(error, 'a part of the log cannot be read and is left out')
  }
}

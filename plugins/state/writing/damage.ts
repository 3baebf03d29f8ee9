import { StorageCorruptError } from '../../support/errors.ts'
import { type LogState, MOST_DAMAGE } from '../log/contract.ts'
import type { SequencerOptions } from './sequencer-types.ts'

/** Tells what a load of the log had to leave out: counted, and said once, however often the log is loaded. */
export class Damage {
  readonly #options: Pick<SequencerOptions, 'space' | 'onError'>
  #told: readonly string[] = []
  count = 0

  constructor(options: Pick<SequencerOptions, 'space' | 'onError'>) {
    this.#options = options
  }

  note({ damage = [] }: Pick<LogState, 'damage'>): void {
    const news = damage.filter((line) => !this.#told.includes(line))
    if (news.length === 0) return
    this.count += news.length
    this.#told = [...this.#told, ...news].slice(-2 * MOST_DAMAGE)
    const { space, onError } = this.#options
    const error = new StorageCorruptError(`space '${space}': ${news.join('; ')}`, 'Everything else is in use.')
    onError(error, 'a part of the log cannot be read and is left out')
  }
}

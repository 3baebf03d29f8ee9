import { CheckedDatabase } from '../../../storage/lmdb/checked-records.ts'
import type { LmdbStorage } from '../../../storage/storage.ts'
import { isSample, type Sample } from '../sample.ts'
import { type HistoryStore, MAX_SAMPLES, type Resolution } from './contract.ts'

type Key = [interval: number, at: number, instance: string]

/** Samples that survive a restart, each start under the name that it had. */
export class LmdbHistory implements HistoryStore {
  readonly #samples: CheckedDatabase<Sample, Key>
  readonly #commits: LmdbStorage['commits']

  readonly #most: number

  constructor(storage: LmdbStorage, most = MAX_SAMPLES) {
    this.#samples = new CheckedDatabase(storage, { name: 'stats-history', disposable: true })
    this.#commits = storage.commits
    this.#most = most
  }

  async append({ interval, reach }: Resolution, sample: Sample): Promise<void> {
    const oldest: Key = [interval, sample.at - reach, '\uffff']
    await this.#commits.write(() =>
      this.#samples.raw.transaction(() => {
        this.#samples.put([interval, sample.at, sample.instance], sample)
        const all = { start: [interval, 0, ''] as Key, end: [interval + 1, 0, ''] as Key }
        for (const key of [...this.#samples.getKeys({ ...all, end: oldest })]) this.#samples.remove(key)
        // A copy: lmdb writes into the options of a count.
        const surplus = this.#samples.raw.getKeysCount({ ...all }) - this.#most
        if (surplus <= 0) return
        for (const key of [...this.#samples.getKeys({ ...all, limit: surplus })]) this.#samples.remove(key)
      }),
    )
  }

  async read({ interval }: Resolution, from: number, to: number): Promise<Sample[]> {
    const range = { start: [interval, from, ''], end: [interval, to, '\uffff'] }
    return Array.from(this.#samples.findRange(range), ({ value }) => value).filter(isSample)
  }
}

import type { Sample } from '../sample.ts'
import { type HistoryStore, MAX_SAMPLES, type Resolution } from './contract.ts'

/** Lives and dies with the process. */
export class MemoryHistory implements HistoryStore {
  readonly #samples = new Map<number, Sample[]>()
  readonly #most: number

  constructor(most = MAX_SAMPLES) {
    this.#most = most
  }

  async append({ interval, reach }: Resolution, sample: Sample): Promise<void> {
    const kept = (this.#samples.get(interval) ?? []).filter(({ at }) => at > sample.at - reach)
    this.#samples.set(interval, [...kept, sample].slice(-this.#most))
  }

  async read({ interval }: Resolution, from: number, to: number): Promise<Sample[]> {
    const samples = (this.#samples.get(interval) ?? []).filter(({ at }) => at >= from && at <= to)
    return samples.sort((a, b) => a.at - b.at)
  }
}

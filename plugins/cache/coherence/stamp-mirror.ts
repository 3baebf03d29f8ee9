import { GENERATION } from '../names.ts'
import type { CacheTier, Stamp, Stamps } from '../tier/contract.ts'

/** What this instance knows of one stamp. An entry holds the cell, so checking it is one comparison. */
export interface Cell {
  /** `undefined`: not known (any more); what was made under it counts as a miss. */
  value: string | undefined
  /** Sequence number of the renewal that made it. */
  since: number
}

const MAX_CELLS = 50_000

/**
 * The stamps of one bucket as this instance knows them: fetched at first sight, then kept current by the bus.
 * Whenever that may have failed, they are forgotten, which costs misses only.
 */
export class StampMirror {
  readonly #tier: CacheTier
  readonly #bucket: string
  readonly #cells = new Map<string, Cell>()

  constructor(tier: CacheTier, bucket: string) {
    this.#tier = tier
    this.#bucket = bucket
  }

  /** The cell of a name whose stamp is known here. */
  known(name: string): Cell | undefined {
    const cell = this.#cells.get(name)
    return cell?.value === undefined ? undefined : cell
  }

  /** The cells of the names, in their order; one round trip for all that are unknown, none if all are known. */
  async cells(names: readonly string[]): Promise<Cell[]> {
    const cells = names.map((name) => this.#cell(name))
    const unknown = names.filter((_, i) => cells[i]?.value === undefined)
    if (unknown.length > 0) await this.ask(unknown)
    return cells
  }

  /** Asks the store, also for what is known. */
  async ask(names: readonly string[]): Promise<void> {
    const learn = this.asking(names)
    learn(await this.#tier.stamps(this.#bucket, names))
  }

  /** Call it before the store is asked for the stamps of the names, and what it returns with the answer. */
  asking(names: readonly string[]): (answer: Pick<Stamps, 'values' | 'since'>) => void {
    const asked = names.map((name) => this.#cell(name))
    return ({ values, since }) => {
      asked.forEach((cell, i) => {
        // A renewal that the bus told in the meantime is newer, and a cell that was forgotten stays unknown.
        if (this.#cells.get(names[i] as string) !== cell || cell.since > (since[i] as number)) return
        cell.value = values[i]
        cell.since = since[i] as number
      })
    }
  }

  /**
   * Whether the store has to be asked before a record under this stamp can be judged: nothing is known of the name, or
   * something that may be older. The store may have lost a stamp and made another one, which the bus does not tell.
   */
  unsure([name, value]: Stamp): boolean {
    const cell = this.known(name)
    return cell === undefined || (cell.value !== value && Number.parseInt(value, 10) >= cell.since)
  }

  /** Told by the bus. Messages come in order, but an answer of the store may have overtaken them. */
  renewed(name: string, value: string, seq: number): void {
    const cell = this.#cells.get(name)
    if (!cell || cell.since >= seq) return
    cell.value = value
    cell.since = seq
  }

  forget(names: Iterable<string>): void {
    for (const name of names) {
      const cell = this.#cells.get(name)
      if (cell) cell.value = undefined
      this.#cells.delete(name)
    }
  }

  forgetAll(): void {
    this.forget([...this.#cells.keys()])
  }

  /** But not the generation: everything is made under it. */
  #forgetOldest(): void {
    for (const name of this.#cells.keys()) {
      if (name === GENERATION) continue
      this.forget([name])
      return
    }
  }

  #cell(name: string): Cell {
    let cell = this.#cells.get(name)
    if (cell) return cell
    if (this.#cells.size >= MAX_CELLS) this.#forgetOldest()
    cell = { value: undefined, since: -1 }
    this.#cells.set(name, cell)
    return cell
  }
}

import type { Clock } from '../../support/clock.ts'
import { startTimer } from '../../support/timer.ts'
import type { Transport } from './transport.ts'

/** Sockets that were said goodbye to and are not closed yet: their peers may take their time, but not for ever. */
export class Goodbyes {
  readonly #clock: Clock
  readonly #timeout: number
  readonly #leaving = new Set<Transport>()
  #onEmpty: (() => void) | undefined

  /** @param timeout milliseconds after which a socket is ended by force */
  constructor(clock: Clock, timeout: number) {
    this.#clock = clock
    this.#timeout = timeout
  }

  said(transport: Transport): void {
    this.#leaving.add(transport)
    this.#clock.after(this.#timeout, () => {
      if (this.#leaving.has(transport)) transport.terminate()
    })
  }

  /** The socket is closed. */
  left(transport: Transport): void {
    this.#leaving.delete(transport)
    if (this.#leaving.size === 0) this.#onEmpty?.()
  }

  /** Resolves when all have left, or were ended. */
  async allLeft(): Promise<void> {
    if (this.#leaving.size === 0) return
    const left = new Promise<void>((resolve) => {
      this.#onEmpty = resolve
    })
    // A real timer, whatever the clock, and one that the process waits for: a frozen client must not keep it from
    // ending, and what comes after must run.
    const cancel = startTimer(this.#timeout, () => {
      for (const transport of this.#leaving) transport.terminate()
      this.#onEmpty?.()
    })
    await left
    cancel()
  }
}

import { setTimeout as delay } from 'node:timers/promises'

/** A source as slow as many are: a query, or the interface of another service. */
export class Shop {
  /** Milliseconds that a load takes. */
  static SLOWNESS = 200

  price = 1
  broken = false
  /** How often it was asked. */
  loads = 0

  async load() {
    this.loads++
    const { price } = this
    await delay(Shop.SLOWNESS)
    if (this.broken) throw new Error('The shop does not answer.')
    return { id: 1, price }
  }
}

/**
 * Which page is the client that a client id names. A page keeps its id over all its connections, also while an earlier
 * one, half-open, still counts as living; another page that comes with the same id (the copy of a tab, which got a copy of
 * its storage) is another client.
 *
 * Of this instance: pages that may be copied, as those of our own client, have an id each from the start.
 */
export class Pages {
  readonly #byClient = new Map<string, { page: string; connections: Set<Visitor> }>()

  /** @returns whether the connection's client id is that of this page; not when another one lives under it */
  enter(connection: Visitor, page: string): boolean {
    const known = this.#byClient.get(connection.clientId)
    if (known && known.page !== page) return false
    if (known) known.connections.add(connection)
    else this.#byClient.set(connection.clientId, { page, connections: new Set([connection]) })
    return true
  }

  leave(connection: Visitor): void {
    const known = this.#byClient.get(connection.clientId)
    if (known?.connections.delete(connection) && known.connections.size === 0) {
      this.#byClient.delete(connection.clientId)
    }
  }
}

/** A connection, told apart by being itself. */
interface Visitor {
  readonly clientId: string
}

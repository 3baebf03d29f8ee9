import type { PresenceMember } from '../openapi/messages/server.ts'
import type { Json } from '../openapi/schemas/state.ts'
import { Listeners } from '../plugins/support/listeners.ts'
import { reportFault } from './report-fault.ts'

export interface PresenceLink {
  /** Somebody wants it: connects if nothing has yet. */
  wanted(): void
  send(message: object): void
  /** One holder less. */
  release(presence: Presence): void
}

/** Who follows a space. Empty while there is no connection: who is there then is unknown. */
export class Presence {
  readonly space: string
  readonly #link: PresenceLink
  readonly #listeners = new Listeners<void>(reportFault)
  #list: readonly PresenceMember[]
  #data: Json | undefined

  /** @param before what was let go of a moment ago: the server has not been told */
  constructor(link: PresenceLink, space: string, before?: Presence) {
    this.space = space
    this.#link = link
    this.#list = before?.members() ?? []
    this.#data = before?.shown
    if (!before) this.announce()
  }

  /** Everybody, this client included: the same list until somebody comes, goes or changes. */
  members = (): readonly PresenceMember[] => this.#list

  /** What others see of this client, as far as `update` said. */
  get shown(): Json | undefined {
    return this.#data
  }

  /** What others see of this client from now on. */
  update(data: Json): void {
    this.#data = data
    this.announce()
  }

  /** @returns ends it */
  subscribe = (listener: () => void): (() => void) => {
    this.#link.wanted()
    return this.#listeners.add(listener)
  }

  /** Leaves, with the last of those who asked for it. */
  close(): void {
    this.#link.release(this)
  }

  /** Says on a new connection that this client is here. */
  announce(): void {
    const data = this.#data === undefined ? {} : { data: this.#data }
    this.#link.send({ type: 'presence', space: this.space, ...data })
  }

  receive({
    members = this.#list,
    joined = [],
    left = [],
  }: {
    members?: readonly PresenceMember[]
    joined?: PresenceMember[]
    left?: string[]
  }): void {
    const byNode = new Map([...members, ...joined].map((member) => [member.node, member]))
    for (const node of left) byNode.delete(node)
    this.#list = [...byNode.values()]
    this.#listeners.tell()
  }
}

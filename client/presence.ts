import type { PresenceMember } from '../openapi/messages/server.ts'
import type { Json } from '../openapi/schemas/state.ts'
import { Listeners } from '../plugins/support/listeners.ts'
import { reportFault } from './report-fault.ts'

/** Who follows a space. Empty while there is no connection: who is there then, nobody knows. */
export class Presence {
  readonly space: string
  readonly #send: (message: object) => void
  readonly #release: () => void
  readonly #listeners = new Listeners<void>(reportFault)
  readonly #members = new Map<string, PresenceMember>()
  #list: readonly PresenceMember[] = []
  #data: Json | undefined

  constructor(space: string, send: (message: object) => void, release: () => void) {
    this.space = space
    this.#send = send
    this.#release = release
    this.announce()
  }

  /** Everybody, this client included: the same list until somebody comes, goes or changes. */
  members = (): readonly PresenceMember[] => this.#list

  /** What others see of this client from now on. */
  update(data: Json): void {
    this.#data = data
    this.announce()
  }

  /** @returns ends it */
  subscribe = (listener: () => void): (() => void) => this.#listeners.add(listener)

  close(): void {
    this.#listeners.clear()
    this.#release()
  }

  /** Says on a new connection that this client is here. */
  announce(): void {
    const data = this.#data === undefined ? {} : { data: this.#data }
    this.#send({ type: 'presence', space: this.space, ...data })
  }

  receive({
    members,
    joined = [],
    left = [],
  }: {
    members?: PresenceMember[]
    joined?: PresenceMember[]
    left?: string[]
  }): void {
    if (members) this.#members.clear()
    for (const member of [...(members ?? []), ...joined]) this.#members.set(member.node, member)
    for (const node of left) this.#members.delete(node)
    this.#list = [...this.#members.values()]
    this.#listeners.tell()
  }
}

import type { Commit, Op } from '../../../openapi/schemas/state.ts'
import { subscriptionId } from '../channel/filter.ts'
import type { Outgoing, Subscription } from '../channel/topic.ts'
import type { SyncCounters } from '../stats.ts'
import { type Frame, frame } from '../transports/frame.ts'
import { type Identity, publicClientId } from './identity.ts'
import type { Refusals } from './refusal.ts'

const DEFAULT_SPACE = 'app'

/** What an answer names a write by. */
interface WriteName {
  seq?: number | undefined
  clientId?: string | undefined
}

interface PendingWrite {
  readonly space: string
  /** Absent for a stateChange without a number. */
  readonly seq?: number
  /** When it was numbered under another id than that of the connection: that id, as the client knows it. */
  readonly clientId?: string
  readonly opsText: string
}

/** Who is told, and by what a write without an author of its own is named. */
interface Writer {
  readonly id: string
  readonly clientId: string
  readonly identity: Identity
  readonly subscriptions: ReadonlyMap<string, Subscription>
  send(frame: Frame): void
}

export interface WritesOptions {
  counters: SyncCounters
  refusals: Refusals
  /** Resolves when the commit is durable, applied here, and sent to those who follow it. */
  commit(writer: Writer, space: string, ops: Op[], author: { clientId: string; seq: number }): Promise<Commit>
}

/**
 * The writes of one connection: who waits for which answer, and where in the order of messages it stands.
 *
 *     asked ── refused ──▶ rejected
 *       └── authorised ──▶ pending ── the commit fails ──▶ rejected
 *                             └── its change is delivered, or `commit` resolves ──▶ acknowledged
 *                                                             └── its space lags: held, until it is live again
 */
export class Writes {
  readonly #options: WritesOptions
  readonly #connection: Writer
  readonly #pending = new Map<string, PendingWrite>()
  /** Acks that must not overtake the range which a lagging subscription still has to get. */
  #held: { space: string; ack: Frame }[] = []
  #unnumbered = 0

  constructor(options: WritesOptions, connection: Writer) {
    this.#options = options
    this.#connection = connection
  }

  get size(): number {
    return this.#pending.size
  }

  /** Never rejects: a write is answered by an ack or a reject. Resolves when it is on its way, in order. */
  async begin(write: { ops: Op[]; space?: string } & WriteName): Promise<void> {
    this.#options.counters.count('writes')
    const { ops, seq, space: named } = write
    const { id, identity, subscriptions } = this.#connection
    const clientId =
      write.clientId === undefined ? this.#connection.clientId : publicClientId(write.clientId, identity.userId)
    const space = named ?? subscriptions.values().next().value?.topic.space ?? DEFAULT_SPACE
    try {
      for (const key of new Set(ops.map((op) => op.key))) await identity.authorize('sync:write', { space, key })
      // An id of their own for writes without a number, or their numbers could be those of numbered ones.
      const author = seq === undefined ? { clientId: `${id}-`, seq: ++this.#unnumbered } : { clientId, seq }
      const name = writeId(author.clientId, author.seq)
      // Sent again while the first is under way: its answer serves both.
      if (this.#pending.has(name)) return
      this.#pending.set(name, { space, opsText: JSON.stringify(ops), ...nameOf(write) })
      // Not awaited, so that writes are pipelined: the space keeps their order.
      this.#commit(space, ops, author).catch((error: unknown) => {
        this.#pending.delete(name)
        this.reject(write, error)
      })
    } catch (error) {
      this.reject(write, error)
    }
  }

  async #commit(space: string, ops: Op[], author: { clientId: string; seq: number }): Promise<void> {
    const commit = await this.#options.commit(this.#connection, space, ops, author)
    // A connection that follows the whole space got its ack with the change; the others, and repetitions, get it now.
    this.#settle(author.clientId, author.seq, commit, JSON.stringify(commit.ops))
  }

  /** Whether any of these changes is a write that waits for its ack. */
  include(changes: Outgoing[]): boolean {
    if (this.#pending.size === 0) return false
    return changes.some(({ clientId, seq }) => clientId !== undefined && this.#pending.has(writeId(clientId, seq)))
  }

  /** Answers the write that this change is. */
  acknowledge(change: Outgoing, epoch: string): void {
    const { clientId, seq, prev, revision, opsText } = change
    if (clientId !== undefined) this.#settle(clientId, seq, { epoch, prev, revision }, opsText)
  }

  #settle(
    clientId: string,
    seq: number | undefined,
    { epoch, prev, revision }: Pick<Commit, 'epoch' | 'prev' | 'revision'>,
    committedText: string,
  ): void {
    const id = writeId(clientId, seq)
    const write = this.#pending.get(id)
    if (!write) return
    this.#pending.delete(id)
    const { space, opsText, ...name } = write
    const known = name.seq !== undefined && committedText === opsText
    const ack = frame({
      type: 'ack',
      ...name,
      space,
      epoch,
      prev,
      revision,
      ...(known ? {} : { ops: JSON.parse(committedText) as Op[] }),
    })
    this.#options.counters.count('acks')
    const mode = this.#connection.subscriptions.get(subscriptionId(space, {}))?.mode
    if (mode === undefined || mode === 'live') this.#connection.send(ack)
    else this.#held.push({ space, ack })
  }

  /** The subscription of a whole space is live again, or is no more. */
  release(space: string): void {
    if (this.#held.length === 0) return
    const held = this.#held
    this.#held = held.filter((entry) => entry.space !== space)
    for (const entry of held) if (entry.space === space) this.#connection.send(entry.ack)
  }

  reject(write: WriteName, error: unknown): void {
    const { code, message, status, ...refused } = this.#options.refusals.describe(error)
    this.#options.counters.count('rejects')
    const retry = TRANSIENT.has(code)
    const outcome = status >= 500 && !retry ? 'unknown' : 'refused'
    this.#connection.send(
      frame({ type: 'reject', ...nameOf(write), code, message, ...refused, outcome, ...(retry ? { retry } : {}) }),
    )
  }
}

/** Refused before anything was written, because of how much was waiting then. */
const TRANSIENT: ReadonlySet<string> = new Set([
  'STATEFUL_TOO_MANY_MESSAGES',
  'STATEFUL_OVERLOADED',
  'STATEFUL_STATE_OVERLOADED',
])

const nameOf = ({ seq, clientId }: WriteName) => ({
  ...(seq === undefined ? {} : { seq }),
  ...(clientId === undefined ? {} : { clientId }),
})

const writeId = (clientId: string, seq: number | undefined) => `${clientId}/${seq}`

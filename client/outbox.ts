import type { Ack, Hello, Reject } from '../openapi/messages/server.ts'
import type { Op } from '../openapi/schemas/state.ts'
import { WriteError } from './errors.ts'
import type { KeeperSoon, Kept, KeptWrite } from './keeper.ts'

/** Writes and their bytes that wait; more are refused at once, so that a page that stays offline does not grow. */
const MAX_WAITING = 1_000
const MAX_BYTES = 16 * 1024 * 1024
/** How often a write whose outcome is unknown is sent again (which is safe) before the application is told. */
const MAX_ATTEMPTS = 6
/** Bytes that a frame has beside the operations of its write. */
const FRAME = 300
type Limits = Pick<Hello['limits'], 'payload' | 'queue'>
/** Until a server has said otherwise. */
const LIMITS: Limits = { payload: 1024 * 1024, queue: 256 }

/** A write from its call until the server has decided about it. */
export interface Write {
  /** Under which id and number it is applied once; both for good as soon as it was sent. */
  clientId: string
  seq: number
  readonly space: string
  readonly ops: readonly Op[]
  /** Of the operations as JSON. */
  readonly bytes: number
  /** Was on its way at least once: it may have been applied. */
  sent: boolean
  /** Waits for its answer on this connection. */
  flying: boolean
  /** Times that its outcome was unknown. */
  attempts: number
  /** What it became; known once it is acknowledged or seen. */
  epoch?: string
  revision?: number
  /** Where it was made, which says when it is confirmed. */
  readonly origin?: object
  resolve(written: { revision: number }): void
  reject(error: WriteError): void
}

export interface OutboxLink {
  send(message: object): void
  /** Calls `run` once, after a while that grows with each attempt, unless the connection is lost before. */
  later(attempt: number, run: () => void): void
  /** The server will not have this write. */
  refused(write: Write): void
}

/**
 * The writes of a client that the server has not decided about, in the order of their calls, across replicas and
 * connections.
 *
 *     waiting ──send──▶ flying ──ack──▶ (gone)
 *        ▲                │ ├──reject, for good──▶ (gone)
 *        └──connection lost, reject with `retry`, outcome unknown──┘
 *
 * At most half of what the server queues flies at a time (`hello.limits`). After an answer that asks for the same
 * again, nothing more is sent until all that flies is answered; then everything that is left goes again, the lowest
 * first.
 */
export class Outbox {
  readonly #link: OutboxLink
  readonly #keeper: KeeperSoon
  #writes: Write[] = []
  #clientId: string
  #seq = 0
  #limits: Limits = LIMITS
  #connected = false
  /** Waits for what flies, and then a while. */
  #holding = false
  #setbacks = 0
  #user: string | undefined

  constructor(link: OutboxLink, keeper: KeeperSoon, clientId: string) {
    this.#link = link
    this.#keeper = keeper
    this.#clientId = clientId
  }

  get clientId(): string {
    return this.#clientId
  }

  get size(): number {
    return this.#writes.length
  }

  /** Those of a space, in order. */
  of(space: string): Write[] {
    return this.#writes.filter((write) => write.space === space)
  }

  /** Whose they are, as the server says; `undefined` until it has. */
  get user(): string | undefined {
    return this.#user
  }

  set user(user: string | undefined) {
    if (user === this.#user) return
    this.#user = user
    this.#save()
  }

  /** Writes of earlier pages that may or may not have arrived: they go first, under their numbers. */
  adopt({ user, seq, writes }: Kept): Write[] {
    this.#user ??= user
    this.#seq = Math.max(this.#seq, seq)
    // No caller waits for them any more; the state shows what becomes of them.
    const adopted = writes.map((write) => writeOf(write, { sent: true, resolve() {}, reject() {} }))
    this.#writes.unshift(...adopted)
    this.#save()
    return adopted
  }

  /**
   * @param ops checked
   * @throws WriteError when it is too large, or too much waits
   */
  add(space: string, ops: readonly Op[], rest: Pick<Write, 'resolve' | 'reject' | 'origin'>): Write {
    const write = writeOf({ clientId: this.#clientId, seq: this.#seq + 1, space, ops }, { sent: false, ...rest })
    if (this.#isTooLarge(write)) throw tooLarge(this.#limits.payload)
    if (this.size >= MAX_WAITING || this.#writes.reduce((sum, { bytes }) => sum + bytes, write.bytes) > MAX_BYTES) {
      throw new WriteError('STATEFUL_QUEUE_FULL', 'Too many writes wait.')
    }
    this.#seq++
    this.#writes.push(write)
    this.#save()
    return write
  }

  #flying(): Write[] {
    return this.#writes.filter((write) => write.flying)
  }

  /** Sends as much as the server takes now. */
  pump(): void {
    if (!this.#connected || this.#holding) return
    let room = (Math.floor(this.#limits.queue / 2) || 1) - this.#flying().length
    for (const write of this.#writes) {
      if (write.flying) continue
      if (room-- <= 0) return
      write.sent = write.flying = true
      const { space, seq, ops, clientId } = write
      this.#link.send({ type: 'write', space, seq, ops, ...(clientId === this.#clientId ? {} : { clientId }) })
    }
  }

  /** A connection has begun. */
  open({ assigned, limits = LIMITS }: { assigned?: string; limits?: Limits }): void {
    this.#connected = true
    this.#limits = limits
    if (assigned !== undefined) this.#rename(assigned)
    for (const write of [...this.#writes]) if (this.#isTooLarge(write)) this.#refuse(write, tooLarge(limits.payload))
    this.pump()
  }

  /** Another page lives under this id: what was never sent under it gets new numbers. */
  #rename(clientId: string): void {
    const before = this.#clientId
    this.#clientId = clientId
    this.#seq = 0
    for (const write of this.#writes) {
      if (write.clientId !== before || write.sent) continue
      write.clientId = clientId
      write.seq = ++this.#seq
    }
    this.#save()
  }

  /**
   * The connection is gone: which of the writes under way have arrived is unknown.
   * @param wasTooLarge it ended because of the size of a message
   */
  lost(wasTooLarge: boolean): void {
    this.#connected = this.#holding = false
    const flew = this.#flying().sort((a, b) => b.bytes - a.bytes)
    for (const write of flew) write.flying = false
    const [largest] = flew
    // Something between here and the server takes less than that said; the largest cannot have arrived.
    if (wasTooLarge && largest) this.#refuse(largest, tooLarge(largest.bytes))
  }

  /** @returns the write that is acknowledged, unless it is not known any more */
  ack(ack: Ack): Write | undefined {
    const write = this.#find(ack)
    if (!write) return undefined
    write.epoch = ack.epoch
    write.revision = ack.revision
    this.#setbacks = 0
    this.#remove(write)
    this.#answered()
    return write
  }

  reject(reject: Reject): void {
    const write = this.#find(reject)
    if (!write) return
    const { code, message, outcome, retry } = reject
    write.flying = false
    if (retry || (outcome === 'unknown' && ++write.attempts < MAX_ATTEMPTS)) this.#holding = true
    else this.#refuse(write, new WriteError(code, message, outcome))
    this.#answered()
  }

  #answered(): void {
    if (!this.#holding) this.pump()
    else if (this.#flying().length === 0) {
      this.#link.later(this.#setbacks++, () => {
        this.#holding = false
        this.pump()
      })
    }
  }

  /**
   * Lets go of all of them: the session ended, or the client is closed.
   * @param why to follow "before the write was confirmed"
   * @param keep for a later page
   */
  drop(code: string, why: string, keep = false): void {
    const writes = this.#writes
    this.#writes = []
    this.#save(keep ? writes : [])
    for (const write of writes) {
      this.#end(write, new WriteError(code, `${why} before the write was confirmed.`, 'unknown'))
    }
  }

  #find({ seq, clientId = this.#clientId }: Ack | Reject): Write | undefined {
    return this.#writes.find((write) => write.seq === seq && write.clientId === clientId)
  }

  #remove(write: Write): void {
    this.#writes = this.#writes.filter((other) => other !== write)
    this.#save()
  }

  #refuse(write: Write, error: WriteError): void {
    this.#remove(write)
    this.#end(write, error)
  }

  #end(write: Write, error: WriteError): void {
    this.#link.refused(write)
    write.reject(error)
  }

  #isTooLarge({ bytes }: Write): boolean {
    return bytes > this.#limits.payload - FRAME
  }

  #save(writes = this.#writes): void {
    const queue = () => ({
      clientId: this.#clientId,
      seq: this.#seq,
      user: this.#user,
      writes: writes.map(({ clientId, seq, space, ops }) => ({ clientId, seq, space, ops })),
    })
    this.#keeper?.then((keeper) => keeper?.saveQueue(queue))
  }
}

function writeOf(kept: KeptWrite, rest: Pick<Write, 'sent' | 'resolve' | 'reject' | 'origin'>): Write {
  const bytes = new TextEncoder().encode(JSON.stringify(kept.ops)).length
  return { ...kept, bytes, flying: false, attempts: 0, ...rest }
}

const tooLarge = (most: number) =>
  new WriteError('STATEFUL_WRITE_TOO_LARGE', `A write has at most ${most} bytes; divide it.`)

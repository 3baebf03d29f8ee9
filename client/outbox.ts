import type { Ack, Hello, Reject } from '../openapi/messages/server.ts'
import type { Op } from '../openapi/schemas/state.ts'
import { WriteError } from './errors.ts'
import type { Keeper, KeptWrite } from './keeper.ts'

/** Writes and their characters that wait; more are refused at once, so that a page that stays offline does not grow. */
const MAX_WAITING = 1_000
const MAX_CHARACTERS = 16 * 1024 * 1024
/** How often a write whose outcome is unknown is sent again (which is safe) before the application is told. */
const MAX_ATTEMPTS = 6
/** Bytes that a frame has beside the operations of its write. */
const FRAME = 300
/** Until a server has said otherwise. */
const LIMITS: Hello['limits'] = { payload: 1024 * 1024, queue: 256, rate: 200, subscriptions: 100 }

/** A write from its call until the server has decided about it. */
export interface Write {
  /** Under which id and number it is applied once; both for good as soon as it was sent. */
  clientId: string
  seq: number
  readonly space: string
  readonly ops: readonly Op[]
  /** The operations as JSON. */
  readonly text: string
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

export interface OutboxOptions {
  clientId: string
  keeper: Keeper
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
 * At most half of what the server queues flies at a time (`hello.limits`). After an answer that asks for the same again,
 * nothing more is sent until all that flies is answered; then everything that is left goes again, the lowest first.
 */
export class Outbox {
  readonly #options: OutboxOptions
  readonly #writes: Write[] = []
  #clientId: string
  #seq = 0
  #characters = 0
  #limits = LIMITS
  #connected = false
  /** Waits for what flies, and then a while. */
  #holding = false
  #setbacks = 0
  /** Whose writes these are, as the server says. */
  #user: string | undefined

  constructor(options: OutboxOptions) {
    this.#options = options
    this.#clientId = options.clientId
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

  /** Whose they are; `undefined` while nobody knows. */
  get user(): string | undefined {
    return this.#user
  }

  set user(user: string | undefined) {
    this.#user = user
    this.#save()
  }

  /** Writes of earlier pages that may or may not have arrived: they go first, under their numbers. */
  adopt(writes: readonly KeptWrite[], seq = 0): Write[] {
    this.#seq = Math.max(this.#seq, seq)
    const adopted = writes.map(({ clientId, seq, space, ops }) => {
      // Nobody waits for them any more; what becomes of them shows in the state.
      const quiet = { resolve() {}, reject() {} }
      return this.#writeOf(clientId, seq, space, ops, JSON.stringify(ops), { sent: true, ...quiet })
    })
    this.#writes.unshift(...adopted)
    this.#save()
    return adopted
  }

  /**
   * @param ops checked
   * @throws WriteError when it is too large, or too much waits
   */
  add(space: string, ops: readonly Op[], rest: Pick<Write, 'resolve' | 'reject' | 'origin'>): Write {
    const text = JSON.stringify(ops)
    if (this.#isTooLarge(text)) throw tooLarge(this.#limits.payload)
    if (this.#writes.length >= MAX_WAITING || this.#characters + text.length > MAX_CHARACTERS) {
      throw new WriteError('STATEFUL_QUEUE_FULL', 'Too many writes wait.')
    }
    const write = this.#writeOf(this.#clientId, ++this.#seq, space, ops, text, { sent: false, ...rest })
    this.#writes.push(write)
    this.#save()
    return write
  }

  #writeOf(
    clientId: string,
    seq: number,
    space: string,
    ops: readonly Op[],
    text: string,
    rest: Pick<Write, 'sent' | 'resolve' | 'reject' | 'origin'>,
  ): Write {
    this.#characters += text.length
    return { clientId, seq, space, ops, text, flying: false, attempts: 0, ...rest }
  }

  /** Sends as much as the server takes now. */
  pump(): void {
    if (!this.#connected || this.#holding) return
    let flying = this.#writes.filter((write) => write.flying).length
    const most = Math.max(1, Math.floor(this.#limits.queue / 2))
    for (const write of this.#writes) {
      if (flying >= most) return
      if (write.flying) continue
      write.sent = write.flying = true
      flying++
      const { clientId, seq, space, ops } = write
      const other = clientId === this.#clientId ? {} : { clientId }
      this.#options.send({ type: 'write', space, seq, ops, ...other })
    }
  }

  /** A connection has begun. */
  open({ assigned, limits = LIMITS }: Partial<Hello>): void {
    this.#connected = true
    this.#limits = limits
    if (assigned !== undefined) this.#rename(assigned)
    for (const write of [...this.#writes]) {
      if (this.#isTooLarge(write.text)) this.#refuse(write, tooLarge(limits.payload))
    }
    this.pump()
  }

  /** Another page lives under this id: what was never sent under it is numbered anew. */
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
   * The connection is gone: nobody knows what of that which flew has arrived.
   * @param tooLarge it ended because of the size of a message
   */
  lost(wasTooLarge: boolean): void {
    this.#connected = this.#holding = false
    const flew = this.#writes.filter((write) => write.flying)
    for (const write of flew) write.flying = false
    if (!wasTooLarge) return
    // Something between here and the server takes less than that said; the largest cannot have arrived.
    const largest = flew.reduce<Write | undefined>(
      (most, write) => (write.text.length > (most?.text.length ?? 0) ? write : most),
      undefined,
    )
    if (largest) this.#refuse(largest, tooLarge(largest.text.length))
  }

  /** @returns the write that is acknowledged, unless it is not known any more */
  ack({ seq, clientId, epoch, revision }: Ack): Write | undefined {
    const write = this.#find(seq, clientId)
    if (!write) return undefined
    write.epoch = epoch
    write.revision = revision
    this.#setbacks = 0
    this.#remove(write)
    this.#answered()
    return write
  }

  reject({ seq, clientId, code, message, outcome, retry }: Reject): void {
    const write = this.#find(seq, clientId)
    if (!write) return
    write.flying = false
    if (retry || (outcome === 'unknown' && ++write.attempts < MAX_ATTEMPTS)) this.#holding = true
    else this.#refuse(write, new WriteError(code, message, outcome))
    this.#answered()
  }

  #answered(): void {
    if (!this.#holding) this.pump()
    else if (!this.#writes.some((write) => write.flying)) this.#sendAgain()
  }

  #sendAgain(): void {
    this.#options.later(this.#setbacks++, () => {
      this.#holding = false
      this.pump()
    })
  }

  /**
   * Lets go of all of them: the session ended, or the client is closed.
   * @param keep for a later page
   */
  drop(error: WriteError, keep = false): void {
    const writes = this.#writes.splice(0)
    this.#characters = 0
    this.#save(keep ? writes : [])
    for (const write of writes) this.#end(write, error)
  }

  #find(seq: number | undefined, clientId = this.#clientId): Write | undefined {
    return this.#writes.find((write) => write.seq === seq && write.clientId === clientId)
  }

  #remove(write: Write): void {
    this.#writes.splice(this.#writes.indexOf(write), 1)
    this.#characters -= write.text.length
    this.#save()
  }

  #refuse(write: Write, error: WriteError): void {
    this.#remove(write)
    this.#end(write, error)
  }

  #end(write: Write, error: WriteError): void {
    this.#options.refused(write)
    write.reject(error)
  }

  /** A character takes at most three bytes. */
  #isTooLarge(text: string): boolean {
    const room = this.#limits.payload - FRAME
    return text.length * 3 > room && new TextEncoder().encode(text).length > room
  }

  #save(writes: readonly Write[] = this.#writes): void {
    this.#options.keeper.saveQueue(() => ({
      clientId: this.#clientId,
      seq: this.#seq,
      user: this.#user,
      writes: writes.map(({ clientId, seq, space, ops }) => ({ clientId, seq, space, ops })),
    }))
  }
}

const tooLarge = (most: number) =>
  new WriteError('STATEFUL_WRITE_TOO_LARGE', `A write has at most ${most} bytes; divide it.`)

import { constants, deflateRawSync } from 'node:zlib'

const TEXT_FRAME = 0x81
/** The bit that says that the payload is compressed (RFC 7692 §6). */
const COMPRESSED = 0x40
/** Bytes that a flush ends with, and that the receiver puts back itself (RFC 7692 §7.2.1). */
const FLUSH_END = 4
/** Bytes from which compressing saves more than it costs: a shorter message is one packet anyway. */
const WORTH_COMPRESSING = 1024
const EVENT_END = Buffer.from('\n\n')
/** Bytes above which a second copy of a frame costs more than making it again. */
const LARGE = 16 * 1024

/**
 * One message, serialised once and framed once per transport, however many connections get it.
 * The bytes must never be changed: all recipients share them.
 */
export class Frame {
  #text: string | undefined
  /** The position after it, for transports that number their events. */
  readonly id: string | undefined
  #bytes: number | undefined
  #wire: Buffer | undefined
  #compressed: Buffer | undefined
  #event: Buffer[] | undefined

  constructor(text: string, id?: string) {
    this.#text = text
    this.id = id
  }

  get text(): string {
    return this.#text ?? this.#payload.toString()
  }

  /** Of the message, without any header of a transport. */
  get bytes(): number {
    this.#bytes ??= this.#text === undefined ? this.#payload.length : Buffer.byteLength(this.#text)
    return this.#bytes
  }

  /** As an unmasked WebSocket text frame (RFC 6455 §5.2), header included. */
  get wire(): Buffer {
    if (!this.#wire) {
      this.#wire = framed(TEXT_FRAME, this.text)
      // Large ones are held while slow readers are amid them: once.
      if (this.#wire.length > LARGE) this.#text = undefined
    }
    return this.#wire
  }

  /**
   * The same for those who negotiated permessage-deflate: compressed by itself, without what was sent before (RFC 7692
   * §7.2.1, no context takeover), so that all of them can read the same bytes. `wire` when it would not be shorter.
   */
  get compressed(): Buffer {
    if (this.bytes < WORTH_COMPRESSING) return this.wire
    if (!this.#compressed) {
      // Here and now, so that the order of frames is that of calls; once for all recipients.
      const payload = deflateRawSync(this.#text ?? this.#payload, {
        level: constants.Z_BEST_SPEED,
        finishFlush: constants.Z_SYNC_FLUSH,
      }).subarray(0, -FLUSH_END)
      this.#compressed = payload.length < this.bytes ? framed(TEXT_FRAME | COMPRESSED, payload) : this.wire
    }
    return this.#compressed
  }

  /** The message as it stands in `wire`. */
  get #payload(): Buffer {
    const { wire } = this
    const length = (wire[1] as number) & 0x7f
    return wire.subarray(length < 126 ? 2 : length === 126 ? 4 : 10)
  }

  /**
   * As a server-sent event, in pieces. JSON holds no line breaks, so one `data` line is enough. A large message is the
   * same bytes as in `wire`.
   */
  get event(): readonly Buffer[] {
    const head = `${this.id === undefined ? '' : `id: ${this.id}\n`}data: `
    this.#event ??=
      this.bytes > LARGE ? [Buffer.from(head), this.#payload, EVENT_END] : [Buffer.from(`${head}${this.text}\n\n`)]
    return this.#event
  }
}

/** A whole message as one frame, unmasked as those of servers are. */
function framed(head: number, payload: string | Buffer): Buffer {
  const length = Buffer.byteLength(payload)
  const header = length < 126 ? 2 : length < 65_536 ? 4 : 10
  const wire = Buffer.allocUnsafe(header + length)
  wire[0] = head
  if (header === 2) wire[1] = length
  else if (header === 4) {
    wire[1] = 126
    wire.writeUInt16BE(length, 2)
  } else {
    wire[1] = 127
    wire.writeBigUInt64BE(BigInt(length), 2)
  }
  if (typeof payload === 'string') wire.write(payload, header)
  else payload.copy(wire, header)
  return wire
}

/** For messages of one recipient. */
export function frame(message: object): Frame {
  return new Frame(JSON.stringify(message))
}

const TEXT_FRAME = 0x81

/**
 * One message, serialised once and framed once per transport, however many connections get it.
 * The bytes must never be changed: all recipients share them.
 */
export class Frame {
  readonly text: string
  /** The position after it, for transports that number their events. */
  readonly id: string | undefined
  #bytes: number | undefined
  #wire: Buffer | undefined
  #event: Buffer | undefined

  constructor(text: string, id?: string) {
    this.text = text
    this.id = id
  }

  /** Of the message, without any header of a transport. */
  get bytes(): number {
    this.#bytes ??= Buffer.byteLength(this.text)
    return this.#bytes
  }

  /** As an unmasked WebSocket text frame (RFC 6455 §5.2), header included. */
  get wire(): Buffer {
    this.#wire ??= frameText(this.text)
    return this.#wire
  }

  /** As a server-sent event. JSON holds no line breaks, so one `data` line is enough. */
  get event(): Buffer {
    this.#event ??= Buffer.from(`${this.id === undefined ? '' : `id: ${this.id}\n`}data: ${this.text}\n\n`)
    return this.#event
  }
}

function frameText(text: string): Buffer {
  const length = Buffer.byteLength(text)
  const header = length < 126 ? 2 : length < 65_536 ? 4 : 10
  const wire = Buffer.allocUnsafe(header + length)
  wire[0] = TEXT_FRAME
  if (header === 2) wire[1] = length
  else if (header === 4) {
    wire[1] = 126
    wire.writeUInt16BE(length, 2)
  } else {
    wire[1] = 127
    wire.writeBigUInt64BE(BigInt(length), 2)
  }
  wire.write(text, header)
  return wire
}

/** For messages of one recipient. */
export function frame(message: object): Frame {
  return new Frame(JSON.stringify(message))
}

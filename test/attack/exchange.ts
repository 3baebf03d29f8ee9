import { connect } from 'node:net'

/** Where the attacked server listens, and from which address the attacker comes. */
export interface Target {
  host: string
  port: number
  /** Another one than the honest users', where loopback has several (Linux). */
  from?: string
}

export interface Answer {
  status: number
  /** By lower-case name; repeated ones joined with a comma. */
  headers: Record<string, string>
  body: Buffer
  /** `false`: the connection ended before the body did. */
  complete: boolean
}

export type ExchangeEnd =
  /** All the answers that were waited for are there, and we closed. */
  | 'answered'
  /** The server closed. */
  | 'closed'
  | 'reset'
  /** We gave up waiting. */
  | 'deadline'
  /** We went away on purpose. */
  | 'abandoned'

export interface Exchange {
  answers: Answer[]
  end: ExchangeEnd
  /** Milliseconds. */
  took: number
  /** What came and is no HTTP. */
  garbage?: string
}

export interface ExchangeOptions {
  /** Milliseconds. Default 15 s. */
  deadline?: number
  /** How many answers are waited for. Default 1. */
  answers?: number
  /** Answers without a body: the requests are HEAD. */
  head?: boolean
  /** The first answer's headers are enough: the body is a stream without an end. */
  headersOnly?: boolean
  /** Reset the connection as soon as this many bytes of the answer have come; 0: as soon as all is sent. */
  abandonAfter?: number
}

/** What is sent, in order; a number is a pause in milliseconds. */
export type Piece = string | Buffer | number

const DEADLINE = 15_000
/** An answer that is larger is only counted. */
const MAX_BODY = 8 * 1024 * 1024

/** Sends bytes as they are over a connection of their own, and reads what comes back as HTTP. Never rejects. */
export function exchange(target: Target, pieces: Piece[], options: ExchangeOptions = {}): Promise<Exchange> {
  const started = performance.now()
  const parser = new AnswerParser(options.head ?? false, options.headersOnly ?? false)
  return new Promise((resolve) => {
    const socket = connect({
      host: target.host,
      port: target.port,
      noDelay: true,
      allowHalfOpen: true,
      ...(target.from ? { localAddress: target.from } : {}),
    })
    let done = false
    let received = 0
    const finish = (end: ExchangeEnd) => {
      if (done) return
      done = true
      clearTimeout(deadline)
      parser.end()
      if (end === 'abandoned') socket.resetAndDestroy()
      else socket.destroy()
      const { answers, garbage } = parser
      resolve({ answers, end, took: performance.now() - started, ...(garbage === undefined ? {} : { garbage }) })
    }
    const deadline = setTimeout(() => finish('deadline'), options.deadline ?? DEADLINE)
    socket.on('data', (chunk) => {
      received += chunk.length
      parser.push(chunk)
      if (options.abandonAfter !== undefined && received >= options.abandonAfter) finish('abandoned')
      else if (parser.complete >= (options.answers ?? 1) || parser.garbage !== undefined) finish('answered')
    })
    socket.on('end', () => finish('closed'))
    socket.on('close', () => finish('closed'))
    socket.on('error', () => finish('reset'))
    socket.once('connect', async () => {
      for (const piece of pieces) {
        if (done) return
        if (typeof piece === 'number') await new Promise((resume) => setTimeout(resume, piece))
        else if (!socket.write(piece)) await drained()
      }
      if (options.abandonAfter === 0) finish('abandoned')
    })
    const drained = () =>
      new Promise<void>((resume) => {
        socket.once('drain', resume)
        socket.once('close', resume)
      })
  })
}

/** Just enough of HTTP/1.1 to tell one answer from the next. */
class AnswerParser {
  readonly answers: Answer[] = []
  complete = 0
  garbage: string | undefined
  readonly #head: boolean
  readonly #headersOnly: boolean
  #buffer = Buffer.alloc(0)
  #chunks: Buffer[] = []
  #buffered = 0
  /** Bytes before which another look is useless. */
  #need = 0
  /** What follows the headers is no body. */
  #streaming = false
  /** The answer whose body is being read; `length` of -1: until the connection ends. */
  #open: { answer: Answer; length: number } | undefined

  constructor(head: boolean, headersOnly: boolean) {
    this.#head = head
    this.#headersOnly = headersOnly
  }

  push(chunk: Buffer): void {
    this.#chunks.push(chunk)
    this.#buffered += chunk.length
    if (this.#buffered < this.#need || this.garbage !== undefined) return
    this.#buffer = Buffer.concat(this.#chunks)
    while (this.#step());
    this.#chunks = [this.#buffer]
    this.#buffered = this.#buffer.length
  }

  end(): void {
    if (this.#open) {
      const { answer, length } = this.#open
      answer.body = Buffer.concat(this.#chunks).subarray(0, MAX_BODY)
      answer.complete = length === -1
      if (answer.complete) this.complete++
    } else if (this.#buffered > 0 && this.garbage === undefined && !this.#streaming) {
      this.garbage = Buffer.concat(this.#chunks).toString('latin1', 0, 300)
    }
  }

  /** @returns whether another step may follow */
  #step(): boolean {
    if (!this.#open) return this.#readHead()
    const { answer, length } = this.#open
    if (length === -1) return false
    const body = length === CHUNKED ? dechunk(this.#buffer) : this.#sized(length)
    if (!body) return false
    answer.body = body.body.subarray(0, MAX_BODY)
    answer.complete = true
    this.complete++
    this.#open = undefined
    this.#buffer = this.#buffer.subarray(body.end)
    return true
  }

  #sized(length: number): { body: Buffer; end: number } | undefined {
    this.#need = length
    return this.#buffer.length < length
      ? undefined
      : { body: Buffer.from(this.#buffer.subarray(0, length)), end: length }
  }

  #readHead(): boolean {
    this.#need = 0
    if (this.#buffer.length === 0 || this.#streaming) return false
    const end = this.#buffer.indexOf('\r\n\r\n')
    if (end < 0) return false
    const [first = '', ...lines] = this.#buffer.toString('latin1', 0, end).split('\r\n')
    const status = /^HTTP\/1\.[01] (\d{3})(?: |$)/.exec(first)?.[1]
    if (status === undefined) {
      this.garbage = first.slice(0, 300)
      return false
    }
    this.#buffer = this.#buffer.subarray(end + 4)
    const headers: Record<string, string> = {}
    for (const line of lines) {
      const colon = line.indexOf(':')
      const name = line.slice(0, colon).toLowerCase()
      const value = line.slice(colon + 1).trim()
      headers[name] = name in headers ? `${headers[name]}, ${value}` : value
    }
    const answer: Answer = { status: Number(status), headers, body: Buffer.alloc(0), complete: false }
    if (answer.status >= 100 && answer.status < 200 && answer.status !== 101) return true
    this.answers.push(answer)
    if (answer.status === 101 || (this.#headersOnly && answer.status === 200)) {
      this.#streaming = true
      answer.complete = true
      this.complete++
      return false
    }
    this.#open = { answer, length: this.#lengthOf(answer) }
    return true
  }

  #lengthOf({ status, headers }: Answer): number {
    if (this.#head || status === 204 || status === 304) return 0
    if (headers['transfer-encoding']?.toLowerCase().includes('chunked')) return CHUNKED
    return headers['content-length'] === undefined ? -1 : Number(headers['content-length'])
  }
}

const CHUNKED = -2

/** @returns undefined while the last chunk is not there */
function dechunk(buffer: Buffer): { body: Buffer; end: number } | undefined {
  const parts: Buffer[] = []
  for (let at = 0; ; ) {
    const line = buffer.indexOf('\r\n', at)
    if (line < 0) return undefined
    const size = Number.parseInt(buffer.toString('latin1', at, line), 16)
    const begin = line + 2
    if (Number.isNaN(size) || buffer.length < begin + size + 2) return undefined
    if (size === 0) return { body: Buffer.concat(parts), end: begin + 2 }
    parts.push(buffer.subarray(begin, begin + size))
    at = begin + size + 2
  }
}

import { pipeline, Readable, Transform } from 'node:stream'
import type { ReadableStream as WebStream } from 'node:stream/web'
import type { FastifyReply } from 'fastify'

/** A stream that gives nothing for so long holds up no request any longer. */
const PATIENCE = 1_000

export const isStream = (payload: unknown): payload is Readable =>
  typeof (payload as Readable | null)?.pipe === 'function'

/**
 * Makes one kind of what Fastify sends in pieces: a web stream, or the body of a `Response`, whose head goes to the
 * reply.
 */
export function unwrapped(reply: FastifyReply, payload: unknown): unknown {
  if (payload instanceof Response) {
    reply.code(payload.status)
    for (const [name, value] of payload.headers) reply.header(name, value)
    return payload.body === null ? null : unwrapped(reply, payload.body)
  }
  const web = typeof (payload as ReadableStream | null)?.getReader === 'function'
  return web ? Readable.fromWeb(payload as WebStream) : payload
}

/**
 * Passes a stream on and keeps what passes, up to `maxBytes`. It reads ahead of the client so far, so that a request
 * that waits for the whole waits for its maker alone and never for a client that is slow to read.
 *
 * @param done called once: with the whole, or with nothing when it is larger, fails, or pauses
 */
export function collect(source: Readable, maxBytes: number, done: (body: Buffer | undefined) => void): Readable {
  const chunks: Buffer[] = []
  let bytes = 0
  let ended = false
  const end = (body?: Buffer) => {
    if (ended) return
    ended = true
    clearTimeout(timer)
    chunks.length = 0
    done(body)
  }
  const timer = setTimeout(() => end(), PATIENCE).unref()
  const passing = new Transform({
    highWaterMark: maxBytes,
    transform(chunk: Buffer | string, encoding, callback) {
      const piece = typeof chunk === 'string' ? Buffer.from(chunk, encoding) : chunk
      bytes += piece.length
      if (bytes > maxBytes) end()
      if (!ended) {
        chunks.push(piece)
        timer.refresh()
      }
      callback(null, piece)
    },
    flush(callback) {
      end(Buffer.concat(chunks))
      callback()
    },
  })
  // A reader that goes away ends the source; its failure is the reader's to see.
  pipeline(source, passing, () => end())
  return passing
}

/** Reads a stream to its end and drops it. */
export function discard(source: Readable): void {
  source.on('error', () => {})
  source.resume()
}

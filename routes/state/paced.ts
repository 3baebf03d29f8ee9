import { Readable } from 'node:stream'
import { setImmediate as turn } from 'node:timers/promises'
import type { FastifyReply } from 'fastify'
import type { Clock, Timer } from '../../plugins/support/clock.ts'

export interface Pace {
  clock: Clock
  /** Milliseconds that the reader may take nothing before it is cut. */
  stall: number
  /** Runs once, when the answer has been sent or the reader is gone. */
  onEnd(): void
}

/**
 * An answer that goes out as fast as its reader takes it: a part is made when there is room for it, so that a reader
 * who takes nothing costs the parts on their way to its socket, and only until it is cut.
 */
export function paced(reply: FastifyReply, parts: Iterable<Buffer | string>, { clock, stall, onEnd }: Pace): Readable {
  const response = reply.raw
  let timer: Timer | undefined
  let ended = false
  const moved = () => {
    timer?.cancel()
    if (!ended) timer = clock.after(stall, () => response.destroy())
  }
  const end = () => {
    timer?.cancel()
    if (!ended) onEnd()
    ended = true
  }
  // Not at the end of the parts: the last of them may be on their way for long.
  response.once('finish', end)
  response.once('close', end)
  async function* read() {
    for (const part of parts) {
      moved()
      yield part
      // Making them all in one turn would keep the process from everybody else.
      await turn()
    }
    moved()
  }
  return Readable.from(read(), { objectMode: false, highWaterMark: 64 * 1024 })
}

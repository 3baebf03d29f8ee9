import type { Socket } from 'node:net'
import type { FastifyReply } from 'fastify'
import type { Clock } from '../support/clock.ts'
import { defineService } from '../support/define.ts'
import type { Duration } from '../support/durations.ts'
import { clock, duration, type Rules, readOptions } from '../support/options.ts'

declare module 'fastify' {
  interface FastifyInstance {
    /** Requests that are at work, by their replies. */
    inFlight: ReadonlySet<FastifyReply>
  }
}

/** Options of the plugin {@link draining}. */
export interface DrainingOptions {
  /** How long a close waits for requests in flight before it cuts them. Default 5 s. */
  timeout?: Duration
  clock?: Clock
}

/** What each option must be, and what holds without it. @internal */
export const DRAINING_RULES = { timeout: duration('5s', { least: 0 }), clock } satisfies Rules<DrainingOptions>

/**
 * Lets requests in flight end before the server closes. Fastify alone offers two extremes: wait for ever for
 * the slowest client, or cut everybody at once (`forceCloseConnections: true`, which should be set beside this
 * plugin: it cuts what is still open after `timeout`). Register it after the plugins that end their own
 * long-lived connections.
 */
export const draining = defineService<DrainingOptions>('draining', async (fastify, options) => {
  const { timeout, clock } = readOptions(DRAINING_RULES, options, 'draining')
  const log = fastify.log.child({ plugin: 'draining' })
  const inFlight = new Set<FastifyReply>()
  const bySocket = new WeakMap<Socket, Set<FastifyReply>>()
  let drained: (() => void) | undefined

  const over = (reply: FastifyReply) => {
    inFlight.delete(reply)
    if (inFlight.size === 0) drained?.()
  }
  /** Those of one connection, which end with it. */
  const repliesOf = (socket: Socket) => {
    const known = bySocket.get(socket)
    if (known) return known
    const replies = new Set<FastifyReply>()
    bySocket.set(socket, replies)
    socket.once('close', () => {
      for (const reply of replies) over(reply)
    })
    return replies
  }

  fastify.decorate('inFlight', inFlight)
  fastify.addHook('onRequest', (request, reply, done) => {
    inFlight.add(reply)
    const replies = repliesOf(request.raw.socket)
    replies.add(reply)
    // Not onResponse: it does not run for a client that went away or for a hijacked reply. Nor is this enough: Node
    // never closes the answers of a pipeline whose turn had not come when the connection broke.
    reply.raw.once('close', () => {
      replies.delete(reply)
      over(reply)
    })
    done()
  })

  fastify.addHook('preClose', async () => {
    if (inFlight.size === 0) return
    log.info({ requests: inFlight.size }, 'waiting for requests in flight')
    await new Promise<void>((resolve) => {
      const deadline = clock.after(timeout, resolve)
      drained = () => {
        deadline.cancel()
        resolve()
      }
    })
    if (inFlight.size > 0) log.warn({ requests: inFlight.size }, 'cutting requests that did not end in time')
  })
})

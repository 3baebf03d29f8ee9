import type { FastifyReply } from 'fastify'
import { type Clock, systemClock } from '../support/clock.ts'
import { defineService } from '../support/define.ts'
import { type Duration, milliseconds } from '../support/durations.ts'

declare module 'fastify' {
  interface FastifyInstance {
    /** Requests that are at work, by their replies. */
    inFlight: ReadonlySet<FastifyReply>
  }
}

export interface DrainingOptions {
  /** How long a close waits for requests in flight before it cuts them. Default 5 s. */
  timeout?: Duration
  clock?: Clock
}

/**
 * Lets requests in flight end before the server closes. Fastify alone offers two extremes: wait for ever for
 * the slowest client, or cut everybody at once (`forceCloseConnections: true`, which should be set beside this
 * plugin: it cuts whoever is still there after `timeout`). Register it after the plugins that end their own
 * long-lived connections.
 */
export const draining = defineService<DrainingOptions>('draining', async (fastify, options) => {
  const timeout = milliseconds(options.timeout ?? '5s', 'timeout')
  const clock = options.clock ?? systemClock
  const log = fastify.log.child({ plugin: 'draining' })
  const inFlight = new Set<FastifyReply>()
  let drained: (() => void) | undefined

  fastify.decorate('inFlight', inFlight)
  fastify.addHook('onRequest', async (_request, reply) => {
    inFlight.add(reply)
    // Not onResponse: it does not run for a client that went away or for a hijacked reply.
    reply.raw.once('close', () => {
      inFlight.delete(reply)
      if (inFlight.size === 0) drained?.()
    })
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

export default draining

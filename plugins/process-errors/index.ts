import type { FastifyReply } from 'fastify'
import type {} from '../draining/index.ts'
import type { Clock } from '../support/clock.ts'
import { defineService } from '../support/define.ts'
import { UncaughtError } from '../support/errors.ts'
import { failReply } from '../support/fail-reply.ts'
import { clock, type Rules, readOptions } from '../support/options.ts'

declare module 'fastify' {
  interface FastifyInstance {
    /** Exceptions and rejections of this process that nobody caught, since it started. */
    processErrors: { exceptions: number; rejections: number }
  }
}

/** Options of the plugin {@link processErrors}. */
export interface ProcessErrorsOptions {
  /** Default: the system's. */
  clock?: Clock
}

/** What each option must be, and what holds without it. @internal */
export const PROCESS_ERROR_RULES = { clock } satisfies Rules<ProcessErrorsOptions>

/** Milliseconds that a request which was at work when an error came that nobody caught has for its answer. */
const ANSWER_WITHIN = 10_000

/**
 * The last line of defence: an exception or a rejection that nobody caught is logged and counted, and the process goes
 * on. Node's default is to end it, because its state is unknown then. Here that state is small: what matters lies in
 * stores that change by transactions, and replicas are compared with them. Ending would end everybody's requests and
 * connections, and, where something from outside brought the error about, could be had again at will.
 *
 * Nothing tells which request such an error belongs to (an AsyncLocalStorage would, at the price of half the speed of
 * every promise on Node 20), but that request is left without an answer. So whoever was at work then and has none after
 * ten seconds gets 500 STATEFUL_INTERNAL. A long poll may be among them, and polls again.
 *
 * It changes what a whole process does, so it is on in the reference server only; register it after `draining`. Whoever
 * prefers a process that ends and is started again leaves it out.
 *
 * @throws at boot STATEFUL_INVALID_OPTION
 */
export const processErrors = defineService<ProcessErrorsOptions>(
  'process-errors',
  async (fastify, options) => {
    const { clock } = readOptions(PROCESS_ERROR_RULES, options, 'processErrors')
    const log = fastify.log.child({ plugin: 'process-errors' })
    const counts = { exceptions: 0, rejections: 0 }
    /** Those that wait for their time; one timer for all, however many errors come. */
    let suspects = new Set<FastifyReply>()
    let timer: { cancel(): void } | undefined

    const answer = () => {
      timer = undefined
      const replies = suspects
      suspects = new Set()
      for (const reply of replies) {
        if (fastify.inFlight.has(reply) && !reply.sent && !reply.raw.headersSent) failReply(reply, new UncaughtError())
      }
    }
    const suspect = () => {
      for (const reply of fastify.inFlight) suspects.add(reply)
      if (suspects.size > 0) timer ??= clock.after(ANSWER_WITHIN, answer)
    }
    const onException = (err: unknown) => {
      counts.exceptions += 1
      // Not `fatal`: after that pino writes what is left synchronously, again and again when whoever reads is gone.
      log.error({ err }, 'an uncaught exception; the process goes on')
      suspect()
    }
    const onRejection = (err: unknown) => {
      counts.rejections += 1
      log.error({ err }, 'an unhandled rejection; the process goes on')
      suspect()
    }

    fastify.decorate('processErrors', counts)
    fastify.addHook('onReady', async () => {
      process.on('uncaughtException', onException).on('unhandledRejection', onRejection)
    })
    fastify.addHook('onClose', async () => {
      process.off('uncaughtException', onException).off('unhandledRejection', onRejection)
      timer?.cancel()
    })
  },
  { decorators: { fastify: ['inFlight'] } },
)

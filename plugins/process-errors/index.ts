import type { FastifyReply } from 'fastify'
import type {} from '../draining/index.ts'
import type { Clock } from '../support/clock.ts'
import { defineService } from '../support/define.ts'
import { UncaughtError } from '../support/errors.ts'
import { failReply } from '../support/fail-reply.ts'
import { clock, type Rules, readOptions } from '../support/options.ts'

declare module 'fastify' {
  interface FastifyInstance {
    /** Uncaught exceptions and unhandled rejections of this process, since it started. */
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

/** Milliseconds that a request which was at work when an uncaught error came has for its answer. */
const ANSWER_WITHIN = 10_000

/**
 * The last line of defence: an uncaught exception or rejection is logged and counted, and the process goes
 * on. Node's default is to end it, because its state is unknown then. Here that state is small: what matters lies in
 * stores that change by transactions, and replicas are compared with them. Ending would end everybody's requests and
 * connections, and, where something from outside brought the error about, could be had again at will.
 *
 * Nothing tells which request such an error belongs to (an AsyncLocalStorage would, at the price of half the speed of
 * every promise on Node 20), but that request is left without an answer. So a request that was at work then and has
 * none after ten seconds gets 500 STATEFUL_INTERNAL. A long poll may be among them, and polls again.
 *
 * It changes what a whole process does, so it is on in the reference server only; register it after `draining`. Leave
 * it out if you prefer a process that ends and is started again.
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
      // Not `fatal`: after that pino writes what is left synchronously, again and again when the reader of the log is
      // gone.
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

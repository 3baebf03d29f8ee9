import { monitorEventLoopDelay } from 'node:perf_hooks'
import { getHeapStatistics } from 'node:v8'
import type { FastifyInstance } from 'fastify'
import { systemClock, type Timer } from '../support/clock.ts'
import { OverloadedError } from '../support/errors.ts'
import { residentBytes } from '../support/resident-bytes.ts'

declare module 'fastify' {
  interface FastifyInstance {
    /** Whether the process was overloaded when it was last sampled; it is from the first request on, each second. */
    isUnderPressure(): boolean
  }
  interface FastifyContextConfig {
    /** `false`: this route answers under pressure as well. Default `true`. */
    pressure?: boolean
  }
}

export interface PressureLimits {
  /** In milliseconds. Of this and the others, 0 turns the limit off. */
  maxEventLoopDelay: number
  maxHeapUsedBytes: number
  maxRssBytes: number
  /** In seconds. */
  retryAfter: number
}

/** How often the process is sampled, in milliseconds. */
const SAMPLE_INTERVAL = 1_000
/** How often the event loop is, in milliseconds; Node's histogram includes this much in every sample. */
const RESOLUTION = 10
const NANOSECONDS = 1e6

/**
 * Refuses new work while the process is overloaded. @fastify/under-pressure did it before, but samples the memory by
 * opening a file, in a timer: a process without a free file descriptor (EMFILE) ended there. Neither the delay of the
 * event loop nor the heap needs a file, and the resident memory is asked for only if it has a limit.
 */
export function shedLoad(fastify: FastifyInstance, limits: PressureLimits): void {
  const delay = monitorEventLoopDelay({ resolution: RESOLUTION })
  let timer: Timer | undefined
  let overloaded = false
  // Not before: a boot that takes a second of a slow machine is no reason to turn away the first requests.
  const watch = () => {
    delay.enable()
    timer = systemClock.every(SAMPLE_INTERVAL, sample)
  }
  const sample = () => {
    // Without a sample in all this time, the loop has stood still.
    const mean = delay.count === 0 ? Number.POSITIVE_INFINITY : delay.mean / NANOSECONDS - RESOLUTION
    delay.reset()
    overloaded =
      exceeds(mean, limits.maxEventLoopDelay) ||
      exceeds(getHeapStatistics().used_heap_size, limits.maxHeapUsedBytes) ||
      (limits.maxRssBytes > 0 && exceeds(residentBytes(), limits.maxRssBytes))
  }
  fastify.addHook('onClose', async () => {
    timer?.cancel()
    delay.disable()
  })

  fastify.decorate('isUnderPressure', () => overloaded)
  fastify.addHook('onRequest', (request, reply, done) => {
    if (!timer) watch()
    if (!overloaded || request.routeOptions.config.pressure === false) return done()
    reply.header('retry-after', limits.retryAfter)
    done(new OverloadedError())
  })
}

function exceeds(value: number, limit: number): boolean {
  return limit > 0 && value > limit
}

import type { FastifyReply } from 'fastify'
import type { CachedAnswer } from './answer.ts'
import type { Fill } from './answers.ts'
import type { Conditions } from './conditional.ts'
import type { HeaderFields } from './headers.ts'
import { type CacheStatus, NO_STATUS } from './status.ts'

/** A handler that runs, and whose answer concerns the cache. */
export interface Work {
  /** Headers that were set when it began. */
  before: HeaderFields
  /** Headers when it had answered, before any hook saw the answer. */
  after: HeaderFields | undefined
  /** What the client has asked and the handler is not told, while the handler runs. */
  conditions: Conditions
  /** A stored answer that it may confirm, or that stands in for it. */
  stored: CachedAnswer | undefined
  /** Key of the stored one. */
  key: string
  /** Others wait for its answer. */
  fill: Fill | undefined
  /** It has thrown: what an error handler says instead is no answer of it. */
  failed: boolean
  /** Its answer has been seen, and will be settled. */
  concluded: boolean
}

/** One request to a route whose answers are cached. */
export interface Exchange {
  /** Names of the query's parameters as they came. */
  asked: readonly string[]
  /** It tells who asks, by more than what the keys of the route hold. */
  personal: boolean
  status: CacheStatus
  /** `Cache-Status` of others, once this one has been added. */
  otherStatus: { field: string | undefined } | undefined
  /** What it has been answered with, if that was stored. */
  served: CachedAnswer | undefined
  work: Work | undefined
}

export const newExchange = (asked: readonly string[]): Exchange => ({
  asked,
  personal: false,
  status: { ...NO_STATUS },
  otherStatus: undefined,
  served: undefined,
  work: undefined,
})

/** Notes what has been set at the moment when the handler, or an error handler instead of it, answers. */
export function watchSend(reply: FastifyReply, work: Work): void {
  const { send } = reply
  reply.send = (payload?: unknown) => {
    work.after = reply.getHeaders()
    return send.call(reply, payload)
  }
}

/** Who waits for an answer is released as soon as it is clear that there will be none. */
export function watchEnd(reply: FastifyReply, work: Work, fill: Fill): void {
  const { hijack } = reply
  // A handler that takes over the socket makes no answer that others could have.
  reply.hijack = () => {
    fill.settle(undefined)
    return hijack.call(reply)
  }
  reply.raw.once('close', () => {
    if (!work.concluded) fill.settle(undefined)
  })
}

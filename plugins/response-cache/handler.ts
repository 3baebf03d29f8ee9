import type { FastifyInstance, FastifyReply, FastifyRequest, RouteHandlerMethod } from 'fastify'
import { NotCachedError } from '../support/errors.ts'
import type { CachedAnswer } from './answer.ts'
import type { Answers, Asked, Fill } from './answers.ts'
import { type Conditions, conditionsOf, replaceConditions } from './conditional.ts'
import { deliver, type Told } from './delivery.ts'
import { type Exchange, newExchange, type Work, watchEnd, watchSend } from './exchange.ts'
import { judge, leftAt, type RouteTerms, wishesOf } from './freshness.ts'
import { isPersonal, isShareable, type KeyRule, resourceKey, variantKey } from './key.ts'
import type { Forwarded } from './status.ts'

/** A route whose answers are cached, its options read. */
export interface CachedRoute {
  rule: KeyRule
  terms: RouteTerms
  told: Told
  tags: (request: FastifyRequest) => string[]
  /** Its HEAD is answered by the same handler as its GET. */
  head: boolean
}

/** A handler that answers from the cache where it may, and else calls the route's. */
export function cachedHandler(answers: Answers, route: CachedRoute, handler: RouteHandlerMethod): RouteHandlerMethod {
  return function (this: FastifyInstance, request, reply) {
    // Somebody who stands between the guards and here has answered already.
    if (reply.sent) return handler.call(this, request, reply)
    const exchange = request.cacheExchange ?? newExchange([])
    const { method } = request
    if (method !== 'GET' && method !== 'HEAD') return forward.call(this, request, reply, exchange, 'method')
    const wishes = wishesOf(request.headers)
    if ((method === 'HEAD' && !route.head) || !isShareable(request, route.rule, exchange.asked)) {
      return forward.call(this, request, reply, exchange, 'bypass')
    }
    // Elsewhere somebody in particular has not come so far.
    exchange.personal = (route.rule.shared || route.rule.vary.length > 0) && isPersonal(request)
    if (wishes.noStore) return forward.call(this, request, reply, exchange, 'request')
    const asked: Asked = {
      resource: resourceKey(request, route.rule.signature),
      named: route.rule.vary,
      variant: ({ vary, nonce }) => variantKey(request, vary, nonce),
      tags: [],
      wishes,
    }
    return answer.call(this, request, reply, exchange, asked)
  }

  async function answer(
    this: FastifyInstance,
    request: FastifyRequest,
    reply: FastifyReply,
    exchange: Exchange,
    asked: Asked,
  ): Promise<unknown> {
    const { wishes } = asked
    const conditions = conditionsOf(request)
    const part = conditions.range !== undefined
    if (part || request.method === 'HEAD' || wishes.onlyIfCached || wishes.validate) {
      const held = await answers.held(asked).catch(() => undefined)
      const verdict = held && judge(held.answer, wishes, answers.now())
      if (held && (verdict === 'serve' || verdict === 'renew')) {
        return serve(request, reply, exchange, held.answer, conditions)
      }
      if (wishes.onlyIfCached) throw new NotCachedError()
      const whole = !part && request.method === 'GET'
      if (held && whole) return make.call(this, request, reply, exchange, { stored: held.answer, key: held.key })
      const why = wishes.validate ? 'request' : held ? 'stale' : 'uri-miss'
      return forward.call(this, request, reply, exchange, why)
    }
    try {
      asked.tags.push(...route.tags(request))
    } catch (error) {
      request.log.warn({ err: error }, 'not cached: its tags could not be told')
      return forward.call(this, request, reply, exchange, 'bypass')
    }
    const began = answers.now()
    const found = await answers.find(asked, () => reply.sent || reply.raw.destroyed).catch(() => undefined)
    if (found?.what === 'use') {
      exchange.status.collapsed = found.answer.at > began
      if (exchange.status.collapsed) exchange.status.forwarded = 'uri-miss'
      return serve(request, reply, exchange, found.answer, conditions)
    }
    if (found?.what === 'make') {
      const { fill } = found
      const why = fill.stored ? 'stale' : fill.key === asked.resource ? 'uri-miss' : 'vary-miss'
      exchange.status.forwarded = why
      return make.call(this, request, reply, exchange, { stored: fill.stored, key: fill.key, fill })
    }
    if (found?.stored === undefined) return forward.call(this, request, reply, exchange, 'miss')
    exchange.status.forwarded = found.stored.terms.validate ? 'stale' : 'request'
    return make.call(this, request, reply, exchange, found as { stored: CachedAnswer; key: string })
  }

  /** Gives a stored answer to the client. */
  function serve(
    request: FastifyRequest,
    reply: FastifyReply,
    exchange: Exchange,
    stored: CachedAnswer,
    conditions: Conditions,
  ): FastifyReply {
    const { status } = exchange
    status.hit = !status.collapsed
    const now = answers.now()
    status.left = leftAt(stored, now)
    exchange.served = stored
    return reply.send(deliver(request, reply, stored, conditions, exchange.personal, route.told, now))
  }

  /** Lets the handler answer as if there were no cache. */
  function forward(
    this: FastifyInstance,
    request: FastifyRequest,
    reply: FastifyReply,
    exchange: Exchange,
    why: Forwarded,
  ): unknown {
    exchange.status.forwarded = why
    return handler.call(this, request, reply)
  }

  /** Lets the handler make an answer for others, or confirm a stored one. */
  async function make(
    this: FastifyInstance,
    request: FastifyRequest,
    reply: FastifyReply,
    exchange: Exchange,
    { stored, key, fill }: { stored: CachedAnswer | undefined; key: string; fill?: Fill },
  ): Promise<unknown> {
    const before = reply.getHeaders()
    const conditions = replaceConditions(request, stored)
    const work: Work = { before, after: undefined, conditions, stored, key, fill, failed: false, concluded: false }
    exchange.work = work
    watchSend(reply, work)
    if (fill) watchEnd(reply, work, fill)
    const made = handler.call(this, request, reply)
    // Without a promise the handler sends, now or later; the one to wait for is the reply itself.
    if (made === undefined) return reply
    const payload = await made
    // Who has been answered by somebody else meanwhile makes no answer for others.
    if (reply.sent && work.after === undefined) fill?.settle(undefined)
    return payload
  }
}

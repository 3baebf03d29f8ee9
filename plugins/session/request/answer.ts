import type { OutgoingHttpHeaders } from 'node:http'
import type { FastifyReply } from 'fastify'

/**
 * How far a request's reply is.
 *
 * ```
 *            send                 saved
 * handling ───────▶ saving ──────────────▶ sent
 *    ▲                 │ the store or the cookie failed
 *    └─── unsaved ◀────┘ the reply that tells of it goes out without a session
 * ```
 *
 * An `async` handler that calls `reply.send()` and returns nothing makes Fastify send a second time, and handlers throw
 * after they have sent: the first reply stands, and what comes while it is `saving` or `sent` is ignored. Only a reply
 * that could not be written is followed by another one, that tells of it (`failing`); and that by a third, if a hook
 * fails for each of them. Fastify tells of the first error only, so from then on a reply is surplus when the head is
 * out.
 */
export class Answer {
  stage: 'handling' | 'saving' | 'sent' | 'unsaved' = 'handling'
  /** There was an error: the replies from then on tell of it. */
  failing = false
  /** The handler wrote to `reply.raw` before it replied. */
  #raw = false
  /** Status and headers as they were sent, while they wait for the store. */
  #head: { status: number; headers: OutgoingHttpHeaders } | undefined
  /** Something was sent or thrown while the reply waited. */
  #disturbed = false
  #status = 200
  #stream: { destroyed?: boolean } | undefined

  /** Whether another reply is on its way already; then this one is to be let go of. */
  isSurplus(reply: FastifyReply): boolean {
    if (this.stage === 'saving') return true
    // A handler that has written to the socket itself has no reply; Fastify cuts the connection.
    if (this.stage !== 'sent' || this.#raw) return false
    return reply.raw.headersSent || this.#isStreaming(reply) || !this.failing
  }

  letGo(reply: FastifyReply): void {
    this.#disturbed = true
    if (this.stage === 'sent' && !reply.raw.headersSent) reply.raw.statusCode = this.#status
  }

  /**
   * The reply waits for the store, and is kept as it is now. Meanwhile Fastify takes it for sent: a guard that has
   * answered and does not return its reply (@fastify/passport's) must keep the handler from running all the same.
   */
  beginSaving(reply: FastifyReply): void {
    if (reply.raw.headersSent) this.#raw = true
    if (this.stage === 'unsaved') return
    this.stage = 'saving'
    Object.defineProperties(reply, {
      sent: { configurable: true, get: () => this.#isSent() },
      send: { configurable: true, value: (payload: unknown) => this.#refuse(reply, payload) },
    })
    this.#disturbed = false
    this.#head = { status: reply.raw.statusCode, headers: reply.getHeaders() as OutgoingHttpHeaders }
  }

  /** The store has answered: the reply has what it was sent with again. */
  endSaving(reply: FastifyReply): void {
    if (!this.#head) return
    delete (reply as Partial<FastifyReply>).send
    delete (reply as Partial<FastifyReply>).sent
    if (this.#disturbed) restore(reply, this.#head)
    this.#head = undefined
  }

  /** Goes on to the next hook. */
  send(reply: FastifyReply, payload: unknown): void {
    if (reply.raw.headersSent) this.#raw = true
    this.stage = 'sent'
    this.#stream = typeof (payload as { pipe?: unknown } | null)?.pipe === 'function' ? (payload as object) : undefined
    this.#status = reply.raw.statusCode
  }

  /** Who asks has set a status or headers for another reply, perhaps. */
  #isSent(): true {
    this.#disturbed = true
    return true
  }

  #refuse(reply: FastifyReply, payload: unknown): FastifyReply {
    this.#disturbed = true
    if (payload instanceof Error) reply.log.error({ err: payload }, 'failed after the reply was sent; the reply stands')
    return reply
  }

  /** An error came up. @returns whether it changes the reply */
  fail(): boolean {
    if (this.stage === 'saving') {
      this.#disturbed = true
      return false
    }
    this.failing = true
    return true
  }

  /** Whether a stream is piped into the response; the first bytes of it, and with them the head, may be yet to come. */
  #isStreaming({ raw }: FastifyReply): boolean {
    return this.#stream !== undefined && !this.#stream.destroyed && raw.listenerCount('unpipe') > 0
  }
}

/** Undoes what a second reply or an error handler has set while the first reply waited for the store. */
function restore(reply: FastifyReply, { status, headers }: { status: number; headers: OutgoingHttpHeaders }): void {
  reply.raw.statusCode = status
  for (const name of Object.keys(reply.getHeaders())) reply.removeHeader(name)
  reply.headers(headers as Record<string, string>)
}

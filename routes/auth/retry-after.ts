import type { FastifyReply } from 'fastify'

/** Tells the client when to come back, if the answer is that it has to. */
export async function tellingWhen<T>(reply: FastifyReply, answer: Promise<T>): Promise<T> {
  try {
    return await answer
  } catch (error) {
    const { retryAfter } = error as { retryAfter?: number }
    if (retryAfter !== undefined) reply.header('retry-after', retryAfter)
    throw error
  }
}

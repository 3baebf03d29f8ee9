import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Authorize } from '../../plugins/security/authorize.ts'
import { NotFoundError } from '../../plugins/support/errors.ts'
import type { TraceSubject } from '../../plugins/sync/trace/traces.ts'
import { frame } from '../../plugins/sync/transports/frame.ts'
import { connectEventStream } from './event-stream.ts'
import type { TraceQuery } from './query.ts'

/** How long a trace lasts, in milliseconds: one that is forgotten in a window ends by itself. */
const TRACE_TIME = 5 * 60_000

/**
 * Answers with a stream of what is sent and received, until somebody closes it, the session ends, or its time is over.
 */
export async function openTrace(
  request: FastifyRequest<{ Querystring: TraceQuery }>,
  reply: FastifyReply,
  authorize: Authorize | undefined,
): Promise<void> {
  const { sync } = request.server
  const { clock } = sync.hub.settings
  const subject = request.query as TraceSubject
  if ('node' in subject && !(await sync.clusterNodes()).nodes.some(({ id }) => id === subject.node)) {
    throw new NotFoundError('node with this id')
  }
  let tell = (_event: object) => {}
  // Before the answer begins: too many are refused by a problem.
  const end = sync.trace(subject, (event) => tell(event))
  const connection = connectEventStream(sync.hub, request, reply, authorize)
  if (!connection) return end()
  connection.observes = true
  let missed = 0
  tell = (event) => {
    if (connection.isFull) missed++
    else {
      connection.send(frame(missed === 0 ? event : { ...event, missed: (event as { missed: number }).missed + missed }))
      missed = 0
    }
  }
  const timer = clock.after(TRACE_TIME, () => {
    connection.send(frame({ type: 'traceEnd', reason: 'time' }))
    connection.end(1001, 'the trace has run for five minutes')
  })
  reply.raw.once('close', () => {
    timer.cancel()
    end()
  })
}

import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Authorize } from '../../plugins/security/authorize.ts'
import type { SyncHub } from '../../plugins/sync/hub.ts'
import { filterOf } from '../../plugins/sync/subscription-id.ts'
import { EventStreamTransport } from '../../plugins/sync/transports/event-stream.ts'
import { identityOf } from './identity.ts'
import type { EventsQuery } from './index.ts'
import { positionOf } from './position.ts'

/** Answers with a stream that the hub feeds until one side ends it. */
export function openEventStream(
  hub: SyncHub,
  request: FastifyRequest<{ Querystring: EventsQuery; Headers: { 'last-event-id'?: string } }>,
  reply: FastifyReply,
  authorize: Authorize | undefined,
): void {
  const { space = 'app', key, prefix, since } = request.query
  reply.hijack()
  const response = reply.raw
  response.writeHead(200, {
    ...(reply.getHeaders() as Record<string, string>),
    'content-type': 'text/event-stream; charset=utf-8',
    'cache-control': 'no-store',
    // Proxies that buffer responses would hold events back.
    'x-accel-buffering': 'no',
  })
  response.flushHeaders()
  const transport = new EventStreamTransport(response, () => connection.seen())
  const connection = hub.connect(transport, identityOf(request, authorize))
  response.on('drain', () => connection.drained())
  response.on('error', () => response.destroy())
  response.on('close', () => hub.closed(connection, 1000))

  // What the browser got last is newer than where the page once began.
  connection.open(space, filterOf({ key, prefix }), positionOf(request.headers['last-event-id'] ?? since))
}

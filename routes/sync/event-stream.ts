import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Authorize } from '../../plugins/security/authorize.ts'
import { filterOf } from '../../plugins/sync/channel/filter.ts'
import type { Connection } from '../../plugins/sync/connection/connection.ts'
import type { SyncHub } from '../../plugins/sync/hub.ts'
import { EventStreamTransport } from '../../plugins/sync/transports/event-stream.ts'
import { identityOf } from './identity.ts'
import { type EventsQuery, positionOf } from './query.ts'

/** Answers with a stream that the hub feeds until one side ends it. */
export function openEventStream(
  hub: SyncHub,
  request: FastifyRequest<{ Querystring: EventsQuery; Headers: { 'last-event-id'?: string } }>,
  reply: FastifyReply,
  authorize: Authorize | undefined,
): void {
  const connection = connectEventStream(hub, request, reply, authorize)
  const { space = 'app', key, prefix, since } = request.query
  // What the browser got last is newer than where the page once began.
  connection?.open(space, filterOf({ key, prefix }), positionOf(request.headers['last-event-id'] || since))
}

/**
 * Joins the answer to the hub as a connection that only listens.
 * @returns `undefined` for a HEAD, which is answered
 */
export function connectEventStream(
  hub: SyncHub,
  request: FastifyRequest,
  reply: FastifyReply,
  authorize: Authorize | undefined,
): Connection | undefined {
  reply.headers({
    'content-type': 'text/event-stream; charset=utf-8',
    // A proxy that compresses it would hold events back, as proxies do that buffer responses.
    'cache-control': 'no-store, no-transform',
    'x-accel-buffering': 'no',
  })
  if (request.method === 'HEAD') {
    reply.send()
    return undefined
  }
  reply.hijack()
  const response = reply.raw
  response.writeHead(200, reply.getHeaders() as Record<string, string>)
  response.flushHeaders()
  const transport = new EventStreamTransport(response, () => connection.seen())
  const connection = hub.connect(transport, identityOf(request, authorize))
  response.on('drain', () => connection.drained())
  response.on('error', () => response.destroy())
  response.on('close', () => hub.closed(connection, 1000))
  return connection
}

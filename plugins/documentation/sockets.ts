import type { FastifyInstance } from 'fastify'

/** A WebSocket of `syncRoutes`. */
export interface Socket {
  address: string
  /** The schema of its parameters. */
  query: object
}

/** Collects the WebSockets that speak the protocol of `openapi/messages`, as they are registered from here on. */
export function socketsOf(fastify: FastifyInstance): readonly Socket[] {
  const sockets: Socket[] = []
  fastify.addHook('onRoute', ({ url, method, schema }) => {
    const { operationId } = (schema ?? {}) as { operationId?: string }
    if (operationId === 'openSync' && method === 'GET')
      sockets.push({ address: url, query: schema?.querystring as object })
  })
  return sockets
}

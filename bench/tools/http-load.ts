import autocannon from 'autocannon'
import type { Measurement } from '../harness.ts'
import type { MeasuredServer } from './server-process.ts'

export interface HttpLoad {
  server: MeasuredServer
  path: string
  method?: 'GET' | 'PUT' | 'POST' | 'PATCH' | 'DELETE'
  headers?: Record<string, string>
  body?: string
  /** Instead of one request: these in turn, on each connection. */
  requests?: { method: 'GET'; path: string; headers: Record<string, string> }[]
  /** Connections kept open. Default 50. */
  connections?: number
  /** Requests in flight on each connection. Default 1; more keeps a fast server busier than the load generator. */
  pipelining?: number
  /** Seconds. */
  duration: number
}

/**
 * Answers per second of the server's CPU time: requests per second of the clock would measure the load generator as
 * soon as a server is faster than it. Every answer that is not a 2xx, and every failed request, is a fault.
 */
export async function httpLoad({ server, path, connections = 50, ...load }: HttpLoad): Promise<Measurement> {
  const before = await server.cpu()
  const result = await autocannon({ ...load, url: `${server.url}${path}`, connections })
  const cpu = (await server.cpu()) - before
  return {
    value: result['2xx'] / cpu,
    faults: { failed: result.non2xx + result.errors + result.timeouts },
  }
}

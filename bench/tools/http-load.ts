import autocannon from 'autocannon'
import type { Measurement } from '../harness.ts'

export interface HttpLoad {
  url: string
  method?: 'GET' | 'PUT' | 'POST' | 'PATCH' | 'DELETE'
  headers?: Record<string, string>
  body?: string
  /** Connections kept open. Default 50. */
  connections?: number
  /** Requests in flight on each connection. Default 1; more keeps a fast server busier than the load generator. */
  pipelining?: number
  /** Seconds. */
  duration: number
}

/** Requests per second by autocannon; every answer that is not a 2xx, and every failed request, is a fault. */
export async function httpLoad({ connections = 50, ...load }: HttpLoad): Promise<Measurement> {
  const result = await autocannon({ ...load, connections })
  return {
    // The mean over the whole run; `requests.mean` would average whole seconds and drop the last, partial one.
    value: result['2xx'] / result.duration,
    faults: { failed: result.non2xx + result.errors + result.timeouts },
  }
}

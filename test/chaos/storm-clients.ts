/** Many clients in one process: each message of the parent is a question, answered by how they are. */
import { WebSocket } from 'ws'
import { createClient } from '../../client/index.ts'

export interface StormOrder {
  url: string
  /** One client each. */
  cookies: string[]
}

export interface StormReport {
  live: number
  /** Those that hold the newest value of the key `storm`. */
  current: number
}

const replicas = [] as ReturnType<ReturnType<typeof createClient>['replica']>[]

process.on('message', (message: StormOrder | { newest: number }) => {
  if ('cookies' in message) {
    for (const cookie of message.cookies) {
      class WithCookie extends WebSocket {
        constructor(url: string) {
          super(url, { headers: { cookie }, perMessageDeflate: false })
        }
      }
      replicas.push(createClient({ baseUrl: message.url, WebSocket: WithCookie }).replica())
    }
    return
  }
  const report: StormReport = {
    live: replicas.filter(({ status }) => status === 'live').length,
    current: replicas.filter((replica) => replica.get('storm') === message.newest).length,
  }
  process.send?.(report)
})

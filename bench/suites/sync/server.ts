import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout as wait } from 'node:timers/promises'
import { startBroadcaster } from './broadcasters.ts'

const [kind = '', redis] = process.argv.slice(2)
const { url, broadcast } = await startBroadcaster(kind, redis)
const padding = 'x'.repeat(200)
let change = 0

/** The load generator asks for the next changes when everybody has the last ones. */
const control = createServer(async (request, response) => {
  const { searchParams } = new URL(request.url ?? '/', 'http://localhost')
  const number = (name: string) => Number(searchParams.get(name) ?? 0)
  for (let burst = 0; burst < number('bursts'); burst++) {
    await Promise.all(
      Array.from({ length: number('size') }, () => {
        const sent = performance.timeOrigin + performance.now()
        return broadcast(searchParams.has('large') ? -++change : change++, `${change} ${sent.toFixed(3)} ${padding}`)
      }),
    )
    await (number('pace') > 0 ? wait(number('pace')) : new Promise((resolve) => setImmediate(resolve)))
  }
  response.end(`${change}`)
})
// A measurement may take longer than a connection is kept by default, and then loses the race with its end.
control.keepAliveTimeout = 0
await new Promise<void>((resolve) => control.listen(0, '127.0.0.1', resolve))
process.send?.({ url: `${url}#${(control.address() as AddressInfo).port}` })

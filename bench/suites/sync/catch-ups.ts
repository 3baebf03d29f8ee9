import { once } from 'node:events'
import { WebSocket } from 'ws'
import type { Contender } from '../../harness.ts'
import { startServer } from '../../tools/server-process.ts'

const MISSED = 10

/** A client that missed ten revisions asks for them, or for everything, over and over; the space goes on meanwhile. */
export function catchUps(name: 'resume' | 'full sync', role: Contender['role']): Contender {
  return {
    name,
    role,
    async setup(context) {
      const server = await startServer(context, new URL('./server.ts', import.meta.url), ['fastify-stateful'])
      const [address = '', control] = server.url.split('#')
      const socket = new WebSocket(`${address}/sync?space=large`, { perMessageDeflate: false })
      context.teardown(() => socket.terminate())
      let position = { epoch: '', revision: 0 }
      let answered = () => {}
      socket.on('message', (data) => {
        const message = JSON.parse(data.toString())
        const last = message.changes?.at(-1)
        if (message.type !== 'heartbeat')
          position = { epoch: message.epoch, revision: last?.revision ?? message.revision }
        if (message.since || (message.type === 'fullSync' && !message.more)) answered()
      })
      const answer = () =>
        new Promise<void>((resolve) => {
          answered = resolve
        })
      const synced = answer()
      await once(socket, 'open')
      await synced
      const change = (count: number) => fetch(`http://127.0.0.1:${control}/?large&bursts=${count}&size=1`)
      await (await change(2 * MISSED)).text()

      const rounds = context.quick ? 20 : 1_000
      return async () => {
        let lost = 0
        let cpu = 0
        for (let round = 0; round < rounds; round++) {
          // Its content is not the same as at the last time, as after any absence.
          await (await change(1)).text()
          // Asking for the CPU time costs some itself: as much is taken off.
          const asked = await server.cpu()
          const before = await server.cpu()
          const { epoch, revision } = position
          const came = answer()
          const since = name === 'resume' ? { since: { epoch, revision: revision - MISSED } } : {}
          socket.send(JSON.stringify({ type: 'syncRequest', space: 'large', ...since }))
          await came
          cpu += (await server.cpu()) - before - (before - asked)
          if (position.revision < revision) lost++
        }
        return { value: rounds / cpu, faults: { lost } }
      }
    },
  }
}

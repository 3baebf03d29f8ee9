/**
 * Loaded before `dist/server.js`: the server as it is, and beside it a write-behind handler with a route to write
 * through it. What the handler gets goes to the file DELAYED_WRITES. Says what CPU the boot has cost.
 */
import { subscribe } from 'node:diagnostics_channel'
import { appendFileSync, readFileSync } from 'node:fs'

/** Of processes that this one has started and awaited, in milliseconds; 0 where there is no /proc. */
function cpuOfChildren() {
  try {
    // Fields 16 and 17 of proc(5), in hundredths of a second; the second field may hold blanks, but ends with `) `.
    const fields = readFileSync('/proc/self/stat', 'utf8').split(') ').at(-1).split(' ')
    return (Number(fields[13]) + Number(fields[14])) * 10
  } catch {
    return 0
  }
}

subscribe('fastify.initialization', ({ fastify }) => {
  fastify.put('/delayed/:key', { schema: { hide: true } }, async ({ params: { key }, body: { value } }) => {
    await fastify.cache.setWithDelayedPersist(key, value)
    return {}
  })
  fastify.addHook('onReady', async () => {
    fastify.cache.writeBehind('default', (writes) => {
      const lines = writes.map(({ key, value }) => `${JSON.stringify({ key, value })}\n`)
      appendFileSync(process.env.DELAYED_WRITES, lines.join(''))
    })
  })
  fastify.addHook('onListen', async () => {
    const { user, system } = process.cpuUsage()
    process.stdout.write(`boot took ${Math.round((user + system) / 1_000 + cpuOfChildren())} ms of CPU\n`)
  })
})

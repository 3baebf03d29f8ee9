import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as wait } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { WebSocket } from 'ws'
import { createClient } from '../../client/index.ts'
import { seededRandom } from '../fixtures/random.ts'
import { freePort } from '../fixtures/redis-server.ts'
import { untrackedFork } from '../fixtures/untracked.ts'

/** Long enough for the real thing: `SOAK_SECONDS=300`. */
const SECONDS = Number(process.env['SOAK_SECONDS'] ?? 4)
/** The heap is looked at so often; the first look is after the caches have filled. */
const LOOKS = 5
const CLIENTS = 40
const KEYS = 50
/** What a heap may differ by without having grown: V8 does not give everything back at once. */
const TOLERANCE = 8 * 1024 * 1024

async function heapOf(server: ChildProcess): Promise<number> {
  server.send('heap')
  const [{ heap }] = (await once(server, 'message')) as [{ heap: number }]
  return heap
}

t.test(`the heap of the server stays flat: ${SECONDS} seconds of writes, comers and goers`, async (t) => {
  t.setTimeout((SECONDS + 60) * 1_000)
  const port = await freePort()
  const server = fork(fileURLToPath(new URL('./sync-server.ts', import.meta.url)), [`${port}`, 'memory:'], {
    ...untrackedFork('--expose-gc'),
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
  })
  t.teardown(() => server.kill('SIGKILL'))
  await once(server, 'message')

  const random = seededRandom(1)
  const come = () => {
    const client = createClient({ baseUrl: `http://127.0.0.1:${port}`, WebSocket })
    client.presence('app').update({ at: Date.now() })
    return { client, replica: client.replica('app') }
  }
  const guests = Array.from({ length: CLIENTS }, come)
  t.teardown(() => {
    for (const { client } of guests) client.close()
  })
  let writes = 0
  const heaps: number[] = []
  const began = performance.now()
  for (let look = 1; look <= LOOKS; look++) {
    while (performance.now() - began < (look * SECONDS * 1_000) / LOOKS) {
      for (let write = 0; write < 10; write++) {
        const value = 'x'.repeat(random.integer(1, 500))
        random
          .pick(guests)
          .replica.set(`key${random.integer(1, KEYS)}`, value)
          .then(
            () => writes++,
            () => {},
          )
      }
      const leaving = random.integer(0, CLIENTS - 1)
      guests[leaving]?.client.close()
      guests[leaving] = come()
      await wait(20)
    }
    heaps.push(await heapOf(server))
  }
  const megabytes = heaps.map((heap) => (heap / 1024 / 1024).toFixed(1)).join(', ')
  t.comment(`${writes} writes; heap at each fifth: ${megabytes} MB`)
  t.ok(writes > SECONDS * 20)
  t.ok((heaps.at(-1) ?? 0) - (heaps[0] ?? 0) < TOLERANCE, megabytes)
})

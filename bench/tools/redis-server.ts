import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { type AddressInfo, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { Redis } from 'ioredis'
import type { Context } from '../harness.ts'

/** A Redis of this benchmark's own, over TCP as applications have it. @returns its URL */
export async function startRedisOverTcp(context: Context): Promise<string> {
  const port = await getPort()
  await startRedis(context, port)
  return `redis://127.0.0.1:${port}`
}

/** A Redis of this benchmark's own, on a Unix socket in a folder that is gone afterwards. */
export async function startRedis(context: Context, port = 0): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'bench-redis-'))
  const socket = join(directory, 'socket')
  const child = spawn(
    'redis-server',
    ['--port', `${port}`, '--bind', '127.0.0.1', '--unixsocket', socket, '--dir', directory, '--save', ''],
    {
      stdio: 'ignore',
    },
  )
  context.teardown(async () => {
    child.kill('SIGKILL')
    await rm(directory, { recursive: true, force: true })
  })
  for (let attempt = 0; ; attempt++) {
    const client = new Redis({ path: socket, lazyConnect: true, retryStrategy: () => null })
    client.on('error', () => {})
    try {
      await client.connect()
      client.disconnect()
      return socket
    } catch (error) {
      if (attempt === 100) throw error
      await delay(20)
    }
  }
}

async function getPort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}

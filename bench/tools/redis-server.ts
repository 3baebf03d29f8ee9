import { spawn } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { Redis } from 'ioredis'
import type { Context } from '../harness.ts'

/** A Redis of this benchmark's own, on a Unix socket in a folder that is gone afterwards. */
export async function startRedis(context: Context): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'bench-redis-'))
  const socket = join(directory, 'socket')
  const child = spawn('redis-server', ['--port', '0', '--unixsocket', socket, '--dir', directory, '--save', ''], {
    stdio: 'ignore',
  })
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

import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { Etcd3 } from 'etcd3'
import { connect } from 'nats'
import { freePort } from '../../../test/fixtures/redis-server.ts'
import type { Contender, Context } from '../../harness.ts'
import { asyncCallsPerSecond } from '../../tools/timing.ts'

/** Calls under way at a time. */
const WIDTH = 100
const KEYS = 1_000

interface Server {
  command: string
  /** The npm package of its client. */
  client: string
  arguments(folder: string, ports: number[]): string[]
  /** A write that is acknowledged. */
  writer(context: Context, port: number): Promise<(key: string, text: string) => Promise<unknown>>
}

/** Keeps what it is told in files, which it flushes every two minutes. */
const nats: Server = {
  command: 'nats-server',
  client: 'nats',
  arguments: (folder, [port]) => ['-js', '-sd', folder, '-a', '127.0.0.1', '-p', `${port}`],
  async writer({ teardown }, port) {
    const connection = await connect({ servers: `127.0.0.1:${port}`, waitOnFirstConnect: true, reconnectTimeWait: 50 })
    teardown(() => connection.close())
    // Of each key the newest value only.
    const bucket = await connection.jetstream().views.kv('app', { history: 1 })
    return (key, text) => bucket.put(key, text)
  },
}

/** Flushes what it acknowledges, many writes at a time. */
const etcd: Server = {
  command: 'etcd',
  client: 'etcd3',
  arguments(folder, [port, peerPort]) {
    const [client, peer] = [`http://127.0.0.1:${port}`, `http://127.0.0.1:${peerPort}`]
    return [
      ...['--data-dir', folder, '--listen-client-urls', client, '--advertise-client-urls', client],
      ...['--listen-peer-urls', peer, '--initial-advertise-peer-urls', peer, '--initial-cluster', `default=${peer}`],
    ]
  },
  async writer({ teardown }, port) {
    const client = new Etcd3({ hosts: `http://127.0.0.1:${port}` })
    teardown(() => client.close())
    return (key, text) => client.put(key).value(text).exec()
  },
}

/** Those of the servers that are installed (Debian's packages nats-server and etcd-server), by their version. */
export function installedServers(text: string): Contender[] {
  return [nats, etcd].flatMap((server) => {
    const version = versionOf(server.command)
    return version === undefined ? [] : [contender(server, `${server.command} ${version}`, text)]
  })
}

function versionOf(command: string): string | undefined {
  try {
    const told = execFileSync(command, ['--version'], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] })
    return /\d+\.\d+\.\d+/.exec(told)?.[0]
  } catch {
    return undefined
  }
}

function contender(server: Server, name: string, text: string): Contender {
  return {
    name,
    role: 'peer',
    packages: [server.client],
    async setup(context) {
      const folder = await mkdtemp(join(tmpdir(), 'stateful-bench-'))
      context.teardown(() => rm(folder, { recursive: true, force: true }))
      const ports = [await freePort(), await freePort()]
      const child = spawn(server.command, server.arguments(folder, ports), { stdio: 'ignore' })
      context.teardown(async () => {
        if (child.exitCode !== null) return
        const exited = once(child, 'exit')
        child.kill('SIGKILL')
        await exited
      })
      const write = await server.writer(context, ports[0] as number)
      await untilItAnswers(() => write('first', text))
      return async () => ({
        value: await asyncCallsPerSecond((i) => write(`key${i % KEYS}`, text), context.quick ? 100 : 1_500, WIDTH),
      })
    },
  }
}

async function untilItAnswers(ask: () => Promise<unknown>): Promise<void> {
  for (let attempt = 0; ; attempt++) {
    try {
      await ask()
      return
    } catch (error) {
      if (attempt === 100) throw error
      await delay(50)
    }
  }
}

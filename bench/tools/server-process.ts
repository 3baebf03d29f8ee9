import { fork } from 'node:child_process'
import { once } from 'node:events'
import type { Context } from '../harness.ts'

export interface MeasuredServer {
  url: string
  /** Seconds of CPU time that the server has used so far. */
  cpu(): Promise<number>
}

/**
 * Runs a module in a process of its own, so that the load generator and the server do not share a thread.
 * The module must call `process.send({ url })` when it listens; it is killed at teardown.
 * @param module for example `new URL('./http/server.ts', import.meta.url)`
 * @param args the module's `process.argv.slice(2)`
 */
export async function startServer(context: Context, module: URL, args: string[] = []): Promise<MeasuredServer> {
  const child = fork(module, args, {
    execArgv: [...process.execArgv, '--import', new URL('./report-cpu.mjs', import.meta.url).href],
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    env: { ...process.env, NODE_ENV: 'production' },
  })
  const exited = once(child, 'exit')
  context.teardown(async () => {
    child.kill('SIGKILL')
    await exited
  })
  const [message] = (await Promise.race([
    once(child, 'message', { signal: AbortSignal.timeout(30_000) }),
    exited.then(([code]) => Promise.reject(new Error(`${module.pathname} ended with code ${code}`))),
  ])) as [{ url: string }]
  return {
    url: message.url,
    async cpu() {
      child.send('cpu')
      const [{ cpu }] = (await once(child, 'message', { signal: AbortSignal.timeout(10_000) })) as [{ cpu: number }]
      return cpu
    },
  }
}

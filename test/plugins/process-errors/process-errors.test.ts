import { fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import Fastify from 'fastify'
import t, { type Test } from 'tap'
import { draining } from '../../../plugins/draining/index.ts'
import { processErrors } from '../../../plugins/process-errors/index.ts'
import { HttpClient } from '../../fixtures/http-client.ts'

async function start(t: Test, ...args: string[]) {
  const child = fork(fileURLToPath(new URL('./child.ts', import.meta.url)), args, {
    silent: true,
  })
  t.teardown(() => child.kill('SIGKILL'))
  let output = ''
  child.stdout?.on('data', (chunk) => {
    output += chunk
  })
  const [url] = await once(child, 'message')
  return { child, client: new HttpClient(String(url)), output: () => output }
}

t.test('what nobody caught is logged, counted and answered, and the process goes on', async (t) => {
  const { child, client, output } = await start(t)
  for (const path of ['/exception', '/rejection', '/hook']) {
    const { status, body } = await client.get(path)
    t.match({ status, body }, { status: 500, body: { code: 'STATEFUL_INTERNAL', requestId: String } }, path)
  }
  t.match(await client.get('/answered'), { status: 200, body: 'answered' })
  t.match((await client.get('/fine')).body, { exceptions: 2, rejections: 2 })
  t.match(output(), /in a timer/)
  t.match(output(), /held by nobody/)
  t.equal(child.exitCode, null)
})

t.test('it changes nothing in processes that did not ask for it, and nothing after the close', async (t) => {
  const { child, client } = await start(t, 'without')
  const exited = once(child, 'exit')
  await client.get('/exception').catch(() => {})
  t.strictSame((await exited)[0], 1, 'Node ends the process')

  const listeners = () => [process.listenerCount('uncaughtException'), process.listenerCount('unhandledRejection')]
  const before = listeners()
  const app = Fastify()
  await app.register(draining)
  await app.register(processErrors)
  await app.ready()
  t.notSame(listeners(), before)
  await app.close()
  t.strictSame(listeners(), before)
})

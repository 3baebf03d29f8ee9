/** The first minutes of a newcomer, from an empty folder: init, install, start, log in, console, a green test. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { freePort } from '../fixtures/redis-server.ts'
import { temporaryFolder } from '../fixtures/storages.ts'
import { untracked } from '../fixtures/untracked.ts'
import { execute, packed, QUIETLY } from './project.ts'

t.setTimeout(300_000)

t.test('init, install, start, log in, console, one test green', async (t) => {
  const folder = await temporaryFolder(t)
  const tarball = await packed()

  const times: [string, number][] = []
  let since = performance.now()
  const took = (step: string) => {
    times.push([step, (performance.now() - since) / 1_000])
    since = performance.now()
  }
  await execute(folder, 'npm', [
    'exec',
    '--yes',
    ...QUIETLY,
    `--package=${tarball}`,
    '--',
    'fastify-stateful',
    'init',
    'app',
  ])
  took('init')
  const app = join(folder, 'app')
  await execute(app, 'npm', ['install', ...QUIETLY, tarball])
  took('install')

  const [, password = ''] = /^ADMIN_PASSWORD=(.+)$/m.exec(await readFile(join(app, '.env'), 'utf8')) ?? []
  const port = await freePort()
  const server = spawn(...untracked('npm', ['start', '--silent']), {
    cwd: app,
    env: { PATH: process.env['PATH'], HOME: process.env['HOME'], PORT: `${port}` },
    stdio: 'ignore',
    detached: true,
  })
  const exited = once(server, 'exit')
  t.teardown(async () => {
    // npm and the server that it started.
    if (server.exitCode === null && server.signalCode === null && server.pid) process.kill(-server.pid, 'SIGKILL')
    await exited
  })
  const url = `http://127.0.0.1:${port}`
  await answering(`${url}/health/ready`)
  took('start')
  const login = await fetch(`${url}/login`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ username: 'admin', password }),
  })
  t.equal(login.status, 200)
  const cookie = login.headers
    .getSetCookie()
    .map((one) => one.split(';')[0])
    .join('; ')
  t.equal((await fetch(`${url}/profile`, { headers: { cookie } })).status, 200)
  took('log in')
  const console = await fetch(`${url}/dashboard`)
  t.equal(console.status, 200)
  t.match(await console.text(), /<script/)
  t.equal((await fetch(`${url}/stats`, { headers: { cookie } })).status, 200)
  took('console')
  if (server.pid) process.kill(-server.pid, 'SIGTERM')
  await exited
  t.match((await execute(app, 'npm', ['test', '--silent'])).stdout, /# pass 1\n/)
  took('test')

  const total = times.reduce((sum, [, seconds]) => sum + seconds, 0)
  // A figure for people: what it is depends on the machine, on what else runs there, and on what npm has in its cache.
  t.comment(`${total.toFixed(1)} s: ${times.map(([step, seconds]) => `${step} ${seconds.toFixed(1)} s`).join(', ')}`)
  const { stdout: report } = await execute(app, 'npx', ['fastify-stateful', 'users', 'list'])
  t.match(report, /admin +administrator +active/, 'and the command line knows its storage')
})

async function answering(url: string): Promise<void> {
  const deadline = AbortSignal.timeout(60_000)
  while (!deadline.aborted) {
    const response = await fetch(url).catch(() => undefined)
    if (response?.ok) return
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
  throw new Error('the server did not start')
}

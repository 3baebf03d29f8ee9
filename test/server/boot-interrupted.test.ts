import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdir } from 'node:fs/promises'
import { setTimeout as wait } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { ADMIN_PASSWORD, SECRET } from '../fixtures/credentials.ts'
import { HttpClient } from '../fixtures/http-client.ts'
import { startServer } from '../fixtures/server-process.ts'
import { temporaryFolder } from '../fixtures/storages.ts'

const ROOT = fileURLToPath(new URL('../../', import.meta.url))
/** Milliseconds after its start at which a boot is hit: from before its first file to after its last. */
const BLOWS = [200, 400, 600, 800, 1_000, 1_300]

/** Owners are numbered, and no number is used twice. */
const filesOf = async (folder: string) =>
  (await readdir(folder)).map((file) => file.replace(/^owner\.\d+$/, 'owner')).sort()

/** A server on this folder, started in a way of its own, and ended while it boots. */
async function interrupted(
  t: Test,
  args: string[],
  environment: Record<string, string>,
  signal: NodeJS.Signals,
  ms: number,
) {
  const child = spawn(args[0] as string, args.slice(1), {
    cwd: ROOT,
    env: { ...process.env, ...environment },
    stdio: 'ignore',
    // A group of its own: the signal reaches whatever the boot might have started, too.
    detached: true,
  })
  const exited = once(child, 'exit')
  const hit = (name: NodeJS.Signals) => {
    try {
      process.kill(-(child.pid as number), name)
    } catch {
      // It has ended.
    }
  }
  t.teardown(() => hit('SIGKILL'))
  await wait(ms)
  hit(signal)
  await exited
}

t.test('a boot that is interrupted, at whatever point and however it was started, sets nothing aside', async (t) => {
  const folder = await temporaryFolder(t)
  const environment = {
    STORAGE: `lmdb:${folder}`,
    SESSION_SECRET: SECRET,
    ADMIN_PASSWORD,
    PORT: '0',
    LOG_LEVEL: 'silent',
  }
  const first = await startServer(t, environment)
  const writer = new HttpClient(first.url)
  await writer.login('admin', ADMIN_PASSWORD)
  t.equal((await writer.request('PUT', '/state/keys/kept', { value: 'as it was' })).status, 200)
  await first.stop()
  const files = await filesOf(folder)

  for (const ms of BLOWS) {
    const signal = ms % 400 === 0 ? 'SIGKILL' : 'SIGTERM'
    await interrupted(t, [process.execPath, 'dist/server.js'], environment, signal, ms)
    t.same(
      (await readdir(folder)).filter((file) => /damaged|report|aside/.test(file)),
      [],
      `${signal} after ${ms} ms`,
    )
  }
  await interrupted(t, [process.execPath, '--eval', "import('./dist/server.js')"], environment, 'SIGTERM', 1_000)
  await interrupted(
    t,
    ['sh', '-c', `ulimit -n 24; exec "${process.execPath}" dist/server.js`],
    environment,
    'SIGKILL',
    1_500,
  )

  const last = await startServer(t, environment)
  const reader = new HttpClient(last.url)
  await reader.login('admin', ADMIN_PASSWORD)
  const { body } = await reader.get('/state/keys/kept')
  t.equal(body.value, 'as it was')
  await last.stop()
  t.same(await filesOf(folder), files, 'no file more, none less')
})

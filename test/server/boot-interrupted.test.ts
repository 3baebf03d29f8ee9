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
import { untracked } from '../fixtures/untracked.ts'

const ROOT = fileURLToPath(new URL('../../', import.meta.url))
/** Milliseconds after its start at which a boot is hit: from before its first file to after its last. */
const BLOWS = [200, 400, 600, 800, 1_000, 1_300]

/** Owners are numbered, no number is used twice, and one that was killed leaves its name to its successor. */
const filesOf = async (folder: string) =>
  [...new Set((await readdir(folder)).map((file) => file.replace(/^owner\..*$/, 'owner')))].sort()

/** A server that is hit by the signal, with whatever it has started, so long after its start or as soon as it listens. */
async function hit(t: Test, args: string[], environment: Record<string, string>, signal: NodeJS.Signals, ms?: number) {
  const child = spawn(...untracked(process.execPath, args), {
    cwd: ROOT,
    env: { ...process.env, ...environment },
    stdio: ['ignore', 'pipe', 'ignore'],
    // A group of its own.
    detached: true,
  })
  const exited = once(child, 'exit')
  const kill = (name: NodeJS.Signals) => {
    try {
      process.kill(-(child.pid as number), name)
    } catch {
      // It has ended.
    }
  }
  t.teardown(() => kill('SIGKILL'))
  let listens = false
  for await (const chunk of ms === undefined ? child.stdout : []) {
    listens = /listens on/.test(`${chunk}`)
    if (listens) break
  }
  if (ms !== undefined) await wait(ms)
  kill(signal)
  const [code] = await exited
  return { code, listens }
}

t.test('a boot that is interrupted, at whatever point, sets nothing aside', async (t) => {
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

  for (const [index, ms] of BLOWS.entries()) {
    const signal = index % 2 === 0 ? 'SIGTERM' : 'SIGKILL'
    await hit(t, ['dist/server.js'], environment, signal, ms)
    t.same(
      (await filesOf(folder)).filter((file) => !files.includes(file)),
      [],
      `${signal} after ${ms} ms`,
    )
  }
  const evaluated = await hit(t, ['--eval', "import('./dist/server.js')"], environment, 'SIGTERM')
  t.same(evaluated, { code: 0, listens: true }, 'nor does a server that no file was named for')

  const last = await startServer(t, environment)
  const reader = new HttpClient(last.url)
  await reader.login('admin', ADMIN_PASSWORD)
  const { body } = await reader.get('/state/keys/kept')
  t.equal(body.value, 'as it was')
  await last.stop()
  t.same(await filesOf(folder), files)
})

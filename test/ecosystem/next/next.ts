/**
 * Two real Next.js 16 processes with our cache handler on one Redis. It installs and builds, which takes longer than all
 * other tests of neighbours together, so it has a command of its own: `npm run ecosystem:next`.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { rmSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { installFolder } from '../../../scripts/install-folder.mjs'
import { eventually } from '../../fixtures/eventually.ts'
import { freePort, startRedis } from '../../fixtures/redis-server.ts'

t.setTimeout(600_000)

const folder = fileURLToPath(new URL('.', import.meta.url))
const next = join(folder, 'node_modules', 'next', 'dist', 'bin', 'next')

installFolder(folder)
const ourselves = join(folder, 'node_modules', 'fastify-stateful')
rmSync(ourselves, { force: true })
symlinkSync(fileURLToPath(new URL('../../..', import.meta.url)), ourselves)
t.teardown(() => {
  rmSync(ourselves, { force: true })
  rmSync(join(folder, '.next'), { recursive: true, force: true })
})

const redis = await startRedis(t)
const env = { ...process.env, REDIS_URL: redis.url, NEXT_TELEMETRY_DISABLED: '1', NODE_ENV: 'production' as const }
const build = spawn(process.execPath, [next, 'build'], { cwd: folder, env, stdio: ['ignore', 2, 2] })
t.strictSame(await once(build, 'exit'), [0, null], 'builds')

async function startNext(t: Test): Promise<string> {
  const port = await freePort()
  const args = [next, 'start', '--hostname', '127.0.0.1', '--port', `${port}`]
  const child = spawn(process.execPath, args, { cwd: folder, env, stdio: ['ignore', 2, 2] })
  const ended = once(child, 'exit')
  t.teardown(async () => {
    child.kill('SIGKILL')
    await ended
  })
  const url = `http://127.0.0.1:${port}`
  await eventually(
    () =>
      fetch(url).then(
        ({ ok }) => ok,
        () => false,
      ),
    30_000,
  )
  return url
}

t.test("'use cache' and revalidateTag between two processes", async (t) => {
  const [one, two] = [await startNext(t), await startNext(t)]
  const shown = async (url: string) => (await fetch(`${url}/value`)).json() as Promise<string>
  const pageOf = async (url: string) => /id="value">([^<]+)</.exec(await (await fetch(url)).text())?.[1]
  const revalidate = (url: string, profile: unknown) =>
    fetch(`${url}/revalidate`, { method: 'POST', body: JSON.stringify({ profile }) })

  let value = await shown(one)
  t.type(value, 'string')
  t.equal(await shown(two), value, 'one process has made it for both')
  t.equal(await pageOf(two), value, 'and for pages')
  for (const [by, other] of [
    [one, two],
    [two, one],
    [one, two],
  ] as const) {
    t.equal((await revalidate(by, { expire: 0 })).status, 204)
    const fresh = await shown(other)
    t.not(fresh, value, 'gone for the other one at once')
    t.equal(await shown(by), fresh)
    t.equal(await pageOf(by), fresh)
    value = fresh
  }
  await revalidate(one, 'max')
  const stale = await shown(two)
  t.equal(stale, value, 'with a profile it is served once more')
  await eventually(async () => (await shown(two)) !== stale)
  const renewed = await shown(two)
  t.equal(await shown(one), renewed, 'and made again, for both')
})

/** Runs against a PATH of scripts of its own, so that nothing real is found or installed. */
import { spawnSync } from 'node:child_process'
import { chmod, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { temporaryFolder } from '../fixtures/storages.ts'

const script = fileURLToPath(new URL('../../scripts/prepare-tests.mjs', import.meta.url))

const redis = (version: string) => `echo 'Redis server v=${version} sha=00000000:0 malloc=jemalloc bits=64'`
const browser = 'echo Chromium 156'

/** The package managers of a person who is root, or may not become it. */
async function machine(t: Test, programs: Record<string, string>) {
  const folder = await temporaryFolder(t)
  const add = async (name: string, code: string) => {
    await writeFile(join(folder, name), `#!/bin/sh\n${code}\n`)
    await chmod(join(folder, name), 0o755)
  }
  for (const [name, code] of Object.entries(programs)) await add(name, code)
  const env = { PATH: folder, HOME: folder, PLAYWRIGHT_BROWSERS_PATH: folder }
  return {
    folder,
    prepare() {
      const { status, stderr, stdout } = spawnSync(process.execPath, [script], { encoding: 'utf8', env })
      return { status, stderr, stdout }
    },
  }
}

/** What a program does that installs another one. */
const installs = (folder: string, name: string, code: string) =>
  `/bin/cat > ${folder}/${name} <<'end'\n#!/bin/sh\n${code}\nend\n/bin/chmod +x ${folder}/${name}`

t.test('says nothing when all is there', async (t) => {
  const { prepare } = await machine(t, { 'redis-server': redis('7.0.15'), chromium: browser })
  t.same(prepare(), { status: 0, stderr: '', stdout: '' })
})

t.test('without a way to install, it names the command and fails', async (t) => {
  const { prepare } = await machine(t, { npx: 'exit 1' })
  const { status, stderr } = prepare()
  t.equal(status, 1)
  t.match(stderr, /need a Redis server.*\n {2}.*(apt-get install .*redis-server|brew install redis)\n/)
  t.match(stderr, /need a Chromium.*\n {2}.*(apt-get install .*chromium|brew install --cask chromium)\n/)
})

t.test('installs what is missing, updating the package lists first', async (t) => {
  const { folder, prepare } = await machine(t, {
    chromium: browser,
    sudo: 'shift 0; [ "$1" = -n ] && exit 0; exec "$@"',
  })
  await writeFile(
    join(folder, 'apt-get'),
    `#!/bin/sh\necho "$1" >> ${folder}/log\n[ "$1" = install ] || exit 0\n${installs(folder, 'redis-server', redis('7.2.4'))}\n`,
    { mode: 0o755 },
  )
  const { status, stderr } = prepare()
  t.equal(status, 0, stderr)
  t.match(stderr, /^Installing a Redis server/)
  const { stdout } = spawnSync('/bin/cat', [join(folder, 'log')], { encoding: 'utf8' })
  t.same(
    stdout.split('\n').filter((line) => line !== '--version'),
    ['update', 'install', ''],
  )
})

t.test('a Redis server that is too old is missing', async (t) => {
  const { prepare } = await machine(t, { 'redis-server': redis('6.0.16'), chromium: browser })
  t.match(prepare(), { status: 1, stderr: /Redis server \(7 or newer\)/ })
})

t.test('a browser that does not start is missing; Playwright’s stands in for it', async (t) => {
  const { folder, prepare } = await machine(t, { 'redis-server': redis('8.0.0'), 'chromium-browser': 'exit 1' })
  await writeFile(join(folder, 'npx'), `#!/bin/sh\n${installs(folder, 'google-chrome', browser)}\n`, { mode: 0o755 })
  const { status, stderr } = prepare()
  t.equal(status, 0, stderr)
  t.match(stderr, /npx playwright-core install/)
})

/**
 * Makes sure that what the tests run against is here: a Redis server (7 or newer) and a Chromium. What is missing is
 * installed by apt-get or Homebrew where this user may do that; otherwise the command to run is printed and the exit
 * code is 1. Nothing is ever skipped. Also installed are packages that only one test needs.
 */
import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { findChromium } from './chromium.mjs'
import { installFolder } from './install-folder.mjs'

const playwright = 'npx playwright-core install --with-deps chromium'

const needs = [
  {
    name: 'Redis server (7 or newer)',
    isHere: () => redisVersion() >= 7,
    ways: [aptGet('redis-server'), brew('redis')],
  },
  {
    name: 'Chromium',
    isHere: () => findChromium() !== undefined,
    // Where apt has no Chromium of its own (Ubuntu: a snap), Playwright downloads one.
    ways: [aptGet('chromium'), brew('--cask chromium'), { command: playwright, applies: () => true }],
  },
]

let missing = 0
for (const { name, isHere, ways } of needs) {
  if (isHere()) continue
  const usable = ways.filter((way) => way.applies())
  if (usable.some((way) => install(name, way.command) && isHere())) continue
  missing++
  const [apt, homebrew] = ways
  const { command } = process.platform === 'darwin' ? homebrew : apt
  process.stderr.write(`The tests need a ${name}. Install it, for example by\n  ${command}\n`)
}
process.exitCode = missing > 0 ? 1 : 0
installFolder(fileURLToPath(new URL('../test/ecosystem/generators', import.meta.url)))

function redisVersion() {
  const { stdout } = spawnSync('redis-server', ['--version'], { encoding: 'utf8' })
  return Number(/v=(\d+)/.exec(stdout ?? '')?.[1] ?? 0)
}

function aptGet(packages) {
  const root = process.getuid?.() === 0
  const sudo = root ? '' : 'sudo '
  return {
    command: `${sudo}apt-get update && ${sudo}apt-get install -y --no-install-recommends ${packages}`,
    applies: () => succeeds('apt-get', ['--version']) && (root || succeeds('sudo', ['-n', 'true'])),
  }
}

function brew(packages) {
  return { command: `brew install ${packages}`, applies: () => succeeds('brew', ['--version']) }
}

function install(name, command) {
  process.stderr.write(`Installing a ${name}: ${command}\n`)
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' }
  // Its output goes to stderr: stdout belongs to the test report.
  return spawnSync(command, { shell: true, stdio: ['ignore', 2, 'inherit'], env }).status === 0
}

function succeeds(command, args) {
  return spawnSync(command, args, { stdio: 'ignore' }).status === 0
}

/**
 * Builds tap with the plugins that package.json names, unless it is. The runner would do so too, but a run that has to
 * goes on with the plugins it began with, and gives each of the hundreds of processes a compiler to load that we have
 * taken out: in a fresh clone a second each.
 */
import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { t } from 'tap'

const root = fileURLToPath(new URL('..', import.meta.url))
const { tap } = JSON.parse(readFileSync(`${root}package.json`, 'utf8'))
const built = t.pluginSignature.split('\n')
if (tap.plugin.some((name) => built.includes(name.replace('!', '')) === name.startsWith('!'))) {
  // Its output is not that of the tests.
  const { status } = spawnSync('npx', ['tap', 'build'], { cwd: root, stdio: ['ignore', 2, 'inherit'] })
  process.exitCode = status ?? 1
}

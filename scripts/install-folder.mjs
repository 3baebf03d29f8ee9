import { spawnSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

/** Installs a folder that has a lockfile of its own, when that differs from what was installed last. */
export function installFolder(folder) {
  const wanted = readFileSync(join(folder, 'package-lock.json'), 'utf8')
  const marker = join(folder, 'node_modules', '.installed-package-lock.json')
  if (read(marker) === wanted) return
  // The command's own output is not npm's.
  const args = ['ci', '--prefix', folder, '--no-audit', '--no-fund', '--loglevel=error']
  const { status, error } = spawnSync('npm', args, {
    stdio: ['inherit', 2, 'inherit'],
  })
  if (error) throw error
  if (status !== 0) process.exit(status ?? 1)
  writeFileSync(marker, wanted)
}

function read(file) {
  try {
    return readFileSync(file, 'utf8')
  } catch {
    return undefined
  }
}

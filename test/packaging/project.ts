import { execFile } from 'node:child_process'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import type { Test } from 'tap'
import { temporaryFolder } from '../fixtures/storages.ts'
import { untracked } from '../fixtures/untracked.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))

/** Runs a program in a folder as its users do, without what the test runner adds to every process. */
export function execute(cwd: string, command: string, args: string[]): Promise<{ stdout: string; stderr: string }> {
  const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !/^_?TAP/.test(name)))
  return promisify(execFile)(...untracked(command, args), { cwd, env })
}

/**
 * The package as its users get it: packed, and installed by npm into an empty project beside what they name.
 *
 * @returns the project's folder
 */
export async function installPacked(t: Test, others: string[], flags: string[] = []): Promise<string> {
  const folder = await temporaryFolder(t)
  await execute(root, process.execPath, ['scripts/build.mjs'])
  const pack = ['pack', '--ignore-scripts', '--json', '--pack-destination', folder]
  const { stdout } = await execute(root, 'npm', pack)
  const [{ filename }] = JSON.parse(stdout) as [{ filename: string }]
  await writeFile(join(folder, 'package.json'), JSON.stringify({ name: 'consumer', private: true, type: 'module' }))
  const quietly = ['--prefer-offline', '--no-audit', '--no-fund', '--loglevel=error']
  await execute(folder, 'npm', ['install', ...quietly, ...flags, `./${filename}`, ...others])
  return folder
}

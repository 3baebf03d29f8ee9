import { execFile } from 'node:child_process'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import type { Test } from 'tap'
import { temporaryFolder } from '../fixtures/storages.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))

export const execute = promisify(execFile)

/**
 * The package as its users get it: packed, and installed by npm into an empty project beside what they name.
 *
 * @returns the project's folder
 */
export async function installPacked(t: Test, others: string[], flags: string[] = []): Promise<string> {
  const folder = await temporaryFolder(t)
  await execute(process.execPath, ['scripts/build.mjs'], { cwd: root })
  const pack = ['pack', '--ignore-scripts', '--json', '--pack-destination', folder]
  const { stdout } = await execute('npm', pack, { cwd: root })
  const [{ filename }] = JSON.parse(stdout) as [{ filename: string }]
  await writeFile(join(folder, 'package.json'), JSON.stringify({ name: 'consumer', private: true, type: 'module' }))
  const quietly = ['--prefer-offline', '--no-audit', '--no-fund', '--loglevel=error']
  await execute('npm', ['install', ...quietly, ...flags, `./${filename}`, ...others], { cwd: folder })
  return folder
}

/** An environment without what the test runner adds to every process. */
export function plainEnvironment(more: Record<string, string> = {}): Record<string, string | undefined> {
  const { NODE_OPTIONS: _, NODE_V8_COVERAGE: __, ...env } = process.env
  return { ...Object.fromEntries(Object.entries(env).filter(([name]) => !/^_?TAP/.test(name))), ...more }
}

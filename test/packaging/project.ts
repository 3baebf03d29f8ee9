import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import type { Test } from 'tap'
import { temporaryFolder } from '../fixtures/storages.ts'
import { untracked } from '../fixtures/untracked.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))
const cache = join(root, 'node_modules/.cache/stateful-packed')

/** How npm is asked in tests: what is in its cache is not asked for again. */
export const QUIETLY = ['--prefer-offline', '--no-audit', '--no-fund', '--loglevel=error']

/** Runs a program in a folder as its users do, without what the test runner adds to every process. */
export function execute(cwd: string, command: string, args: string[]): Promise<{ stdout: string; stderr: string }> {
  const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !/^_?TAP/.test(name)))
  return promisify(execFile)(...untracked(command, args), { cwd, env })
}

/**
 * The package as npm packs it, after a build. Several tests install it: it is packed again only when a file of it has
 * changed.
 *
 * @returns the path of the tarball
 */
export async function packed(): Promise<string> {
  await execute(root, process.execPath, ['scripts/build.mjs'])
  const digest = createHash('sha1')
  const { files } = JSON.parse(await readFile(join(root, 'package.json'), 'utf8')) as { files: string[] }
  // Whole folders, though patterns name a part of them: what lies beside it changes seldom.
  const folders = new Set(files.flatMap((pattern) => /^(\w+)(\/|$)/.exec(pattern)?.[1] ?? []))
  for (const folder of ['', ...folders]) {
    const entries = await readdir(join(root, folder), { recursive: folder !== '', withFileTypes: true })
    const paths = entries.filter((entry) => entry.isFile()).map(({ parentPath, name }) => join(parentPath, name))
    for (const path of paths.sort()) {
      const { size, mtimeMs } = await stat(path)
      digest.update(`${path} ${size} ${mtimeMs}\n`)
    }
  }
  const tarball = join(cache, `${digest.digest('hex')}.tgz`)
  if (existsSync(tarball)) return tarball
  await mkdir(cache, { recursive: true })
  // Another test may pack it at the same moment.
  const folder = await mkdtemp(`${tarball}.`)
  const { stdout } = await execute(root, 'npm', ['pack', '--ignore-scripts', '--json', '--pack-destination', folder])
  await rename(join(folder, (JSON.parse(stdout) as [{ filename: string }])[0].filename), tarball)
  await rm(folder, { recursive: true })
  return tarball
}

/**
 * The package as its users get it: packed, and installed by npm into an empty project beside what they name.
 *
 * @returns the project's folder
 */
export async function installPacked(t: Test, others: string[], flags: string[] = []): Promise<string> {
  const folder = await temporaryFolder(t)
  const tarball = await packed()
  await writeFile(join(folder, 'package.json'), JSON.stringify({ name: 'consumer', private: true, type: 'module' }))
  await execute(folder, 'npm', ['install', ...QUIETLY, ...flags, tarball, ...others])
  return folder
}

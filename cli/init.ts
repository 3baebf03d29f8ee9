import { mkdir, readdir, writeFile } from 'node:fs/promises'
import { basename, dirname, join, relative, resolve } from 'node:path'
import { InvalidConfigurationError } from '../plugins/support/errors.ts'
import { starter } from './init/template.ts'
import type { JsonOption } from './options.ts'
import { Output } from './output.ts'

/** Files that may be there already, left by the tool that made the folder. */
const HARMLESS = new Set(['.git', '.DS_Store'])

/**
 * Writes a starter application into an empty folder, with secrets of its own in `.env`.
 * @throws STATEFUL_INVALID_CONFIGURATION when the folder is not empty
 */
export async function init(folder: string, options: JsonOption): Promise<void> {
  const root = resolve(folder)
  await mkdir(root, { recursive: true })
  const there = (await readdir(root)).find((name) => !HARMLESS.has(name))
  if (there !== undefined) {
    throw new InvalidConfigurationError(`the folder '${root}' is not empty ('${there}' is there): name a new one`)
  }
  const { files, adminPassword } = starter(packageName(basename(root)))
  for (const [path, text] of files) {
    await mkdir(dirname(join(root, path)), { recursive: true })
    await writeFile(join(root, path), text, { flag: 'wx', mode: path === '.env' ? 0o600 : 0o644 })
  }
  const where = relative(process.cwd(), root)
  new Output(options).result({ folder: root, files: [...files.keys()], adminPassword }, [
    `A starter application is in ${root}:`,
    '',
    ...(where === '' ? [] : [`  cd ${where}`]),
    '  npm install',
    '  npm start',
    '',
    `Then open http://localhost:3000/dashboard and log in as admin, password ${adminPassword} (it is in .env).`,
  ])
}

/** A folder's name as npm takes it. */
function packageName(name: string): string {
  const fitting = name
    .toLowerCase()
    .replace(/[^a-z0-9._-]+/g, '-')
    .replace(/^[._-]+|-+$/g, '')
  return fitting === '' ? 'app' : fitting
}

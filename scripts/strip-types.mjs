/**
 * Strips the types of all TypeScript, before hundreds of processes load it at the same time: the stripper is the
 * compiler's own parser, and each process that is the first to load some file (every test, in a fresh clone) would take
 * a second for that.
 */
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { load } from './typescript-hooks.mjs'

/** Compiled by others: packages that the checks have for themselves, and programs that tests give to their compilers. */
const OTHERS = /\.d\.ts$|node_modules|^test\/ecosystem\/(generators|hosts\/packed|next)\//

const root = fileURLToPath(new URL('..', import.meta.url))

for (const entry of await readdir(root, { withFileTypes: true })) {
  if (entry.name.startsWith('.') || ['node_modules', 'dist'].includes(entry.name)) continue
  const names = entry.isDirectory() ? await readdir(join(root, entry.name), { recursive: true }) : ['']
  for (const name of names) {
    const file = join(root, entry.name, name)
    if (!/\.tsx?$/.test(file) || OTHERS.test(file.slice(root.length))) continue
    await load(pathToFileURL(file).href, {}, () => undefined)
  }
}

import { readdir, readFile } from 'node:fs/promises'
import { join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'

const root = fileURLToPath(new URL('../..', import.meta.url))

/** Every file of the package's own source that matches, by its path from the root. */
async function sources(pattern: RegExp): Promise<Map<string, string>> {
  const found = new Map<string, string>()
  const look = async (folder: string): Promise<void> => {
    for (const entry of await readdir(folder, { withFileTypes: true })) {
      const path = join(folder, entry.name)
      if (entry.isDirectory()) await look(path)
      else if (pattern.test(entry.name)) found.set(relative(root, path), await readFile(path, 'utf8'))
    }
  }
  for (const folder of ['plugins', 'routes', 'cli', 'client']) await look(join(root, folder)).catch(() => {})
  for (const name of await readdir(root)) {
    if (pattern.test(name)) found.set(name, await readFile(join(root, name), 'utf8'))
  }
  return found
}

t.test('the driver of Redis is known to one room, and services speak to its client', async (t) => {
  const files = await sources(/\.ts$/)
  t.ok(files.size > 100)
  for (const [path, text] of files) {
    if (path.startsWith(join('plugins', 'storage', 'redis'))) continue
    t.notMatch(text, /(from|import|import\() ?'(ioredis|@fastify\/redis)/, path)
    t.notMatch(text, /\bclient\.servers\b/, `${path} asks the driver itself`)
    t.notMatch(text, /storage\/redis\/(servers|connection|channels|open|slot)\.ts/, path)
  }
})

t.test('no script makes a key of its own', async (t) => {
  const scripts = await sources(/\.lua$/)
  t.ok(scripts.size > 15)
  for (const [path, text] of scripts) {
    t.notMatch(text, /KEYS\[[^\]]*\] *\.\./, `${path} builds upon a key`)
    t.notMatch(text, /call\('(?!INFO')\w+', *(ARGV|'|")/, `${path} takes a key from its arguments`)
  }
})

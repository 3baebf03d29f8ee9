/** `backup`, `verify`, `restore` and `salvage` of an LMDB folder. */
import { existsSync } from 'node:fs'
import { open, readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { testApp } from '../fixtures/app.ts'
import { command } from '../fixtures/command.ts'
import { temporaryFolder } from '../fixtures/storages.ts'

t.test('a backup beside the server, and back to it with the server stopped', async (t) => {
  const folder = await temporaryFolder(t)
  const env = { STORAGE: `lmdb:${folder}` }
  const app = await testApp(t, { storage: env.STORAGE })
  await app.state.set('key', 'before')
  t.match(await command(['verify'], { env }), { code: 0, stdout: /^\d+ records in \d+ databases are well\n$/ })
  const { path, damaged } = JSON.parse((await command(['backup', '--json'], { env })).stdout)
  t.equal(damaged, false)
  t.ok(existsSync(path))
  await app.state.set('key', 'after')
  t.match(await command(['restore', path], { env }), { code: 1, stderr: /STATEFUL_STORAGE_OWNED/ })
  t.equal(app.state.get('key'), 'after')
  await app.close()

  const restored = JSON.parse((await command(['restore', path, '--json'], { env })).stdout)
  t.ok(existsSync(restored.former), 'what was in use is kept')
  t.match(await command(['get', 'key'], { env }), { stdout: '"before"\n' })
  t.match(await command(['restore', restored.former], { env }), { code: 0 })
  t.match(await command(['get', 'key'], { env }), { stdout: '"after"\n' }, 'and there is a way back')

  const fresh = await temporaryFolder(t)
  const elsewhere = { env: { STORAGE: `lmdb:${join(fresh, 'data')}` } }
  t.match(await command(['restore', path], elsewhere), { code: 0, stdout: /^restored: \d+ records\n(?!the former)/ })
  t.match(await command(['get', 'key'], elsewhere), { stdout: '"before"\n' })
})

t.test('damage is found, salvaged, and no backup', async (t) => {
  const folder = await temporaryFolder(t)
  const env = { STORAGE: `lmdb:${folder}` }
  const app = await testApp(t, { storage: env.STORAGE })
  for (let n = 0; n < 50; n++) await app.state.set(`key ${n}`, `MARK${'x'.repeat(1000)}`)
  await app.close()
  const { path } = JSON.parse((await command(['backup', '--json'], { env })).stdout)
  for (const file of [join(folder, 'stateful.mdb'), path]) await breakAt(file, 'MARK')

  t.match(await command(['verify'], { env }), { code: 3, stdout: /^damaged: / })
  const { problems } = JSON.parse((await command(['verify', '--json'], { env })).stdout)
  t.ok(problems.length > 0)
  const before = await readFile(join(folder, 'stateful.mdb'))
  t.match(await command(['restore', path], { env }), { code: 1, stderr: /it is damaged.*STATEFUL_STORAGE_UNCHECKED/ })
  t.same(await readFile(join(folder, 'stateful.mdb')), before, 'a damaged backup changes nothing')
  await rm(path)
  t.match(await command(['salvage'], { env }), { code: 0, stdout: /"quarantined"/ })
  t.match(await command(['verify'], { env }), { code: 0 })
  t.match(await command(['salvage'], { env }), { code: 0, stdout: 'nothing is damaged\n' })
})

t.test('what is no LMDB folder is told', async (t) => {
  const folder = await temporaryFolder(t)
  t.match(await command(['verify', '--storage', `lmdb:${folder}`]), { code: 1, stderr: /there is no database/ })
  for (const args of [['verify'], ['backup'], ['salvage'], ['restore', 'x']]) {
    t.match(await command([...args, '--storage', 'redis://localhost']), { code: 1, stderr: /is for an LMDB folder/ })
  }
})

/** Flips a bit in each place where the text is. */
async function breakAt(path: string, text: string): Promise<void> {
  const bytes = await readFile(path)
  const file = await open(path, 'r+')
  for (let at = bytes.indexOf(text); at >= 0; at = bytes.indexOf(text, at + 1)) {
    await file.write(Buffer.from([(bytes[at + 1] as number) ^ 1]), 0, 1, at + 1)
  }
  await file.close()
}

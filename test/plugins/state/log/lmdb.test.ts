import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { cp, open as openFile, readdir, readFile, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { sameJson } from '../../../../plugins/state/values/reducer.ts'
import { openStorage } from '../../../../plugins/storage/index.ts'
import { BACKUP_FOLDER } from '../../../../plugins/storage/lmdb/backup.ts'
import { DataFile } from '../../../../plugins/storage/lmdb/data-file.ts'
import { DATABASE_FILE, verifyFile } from '../../../../plugins/storage/lmdb/verify.ts'
import { seededRandom } from '../../../fixtures/random.ts'
import { testState } from '../../../fixtures/state.ts'
import { temporaryFolder } from '../../../fixtures/storages.ts'
import { untrackedTypeScript } from '../../../fixtures/untracked.ts'

const root = fileURLToPath(new URL('../../../..', import.meta.url))

/** Flipped bits, of the same places in every run; each costs a boot. */
const FLIPS = Number(process.env['FLIPS'] ?? 2)
const SEED = Number(process.env['CHAOS_SEED'] ?? 1)

const withBackup = await temporaryFolder(t)
{
  const { state, close } = await testState(t, { url: `lmdb:${withBackup}` })
  await Promise.all(Array.from({ length: 500 }, (_, n) => state.set(`key-${n}`, { n, text: 'x'.repeat(300) })))
  const command = spawn(...untrackedTypeScript('cli/main.ts', 'backup', '--storage', `lmdb:${withBackup}`), {
    cwd: root,
  })
  t.same(await once(command, 'exit'), [0, null], 'a backup is made beside the running owner')
  await close()
}

/** A copy of that folder, which nobody has owned. */
async function filled(t: Test, backup: boolean) {
  const folder = await temporaryFolder(t)
  for (const name of [DATABASE_FILE, ...(backup ? [BACKUP_FOLDER] : [])]) {
    await cp(join(withBackup, name), join(folder, name), { recursive: true })
  }
  return { folder, path: join(folder, DATABASE_FILE) }
}

async function overwrite(path: string, at: number, bytes: Buffer): Promise<void> {
  const file = await openFile(path, 'r+')
  await file.write(bytes, 0, bytes.length, at)
  await file.close()
}

const damages: Record<string, (path: string) => Promise<void>> = {
  truncated: async (path) => truncate(path, Math.floor((await readFile(path)).length / 2 / 4096) * 4096),
  zeroed: async (path) => overwrite(path, 0, Buffer.alloc((await readFile(path)).length)),
  garbled: async (path) =>
    overwrite(path, 32_768, Buffer.from(Array.from({ length: 65_536 }, (_, n) => (n * 7) % 251))),
  'with a flipped bit in a value': async (path) => {
    const content = await readFile(path)
    const at = content.lastIndexOf('"text":"xxxx') + 10
    await overwrite(path, at, Buffer.from([(content[at] as number) ^ 1]))
  },
  'no database at all': async (path) => writeFile(path, 'this is no database'),
}

for (const [name, damage] of Object.entries(damages)) {
  t.test(`a file that is ${name} is set aside, and a backup takes its place`, async (t) => {
    const { folder, path } = await filled(t, true)
    await damage(path)
    const file = await DataFile.open(path)
    t.equal((await verifyFile(file)).damaged, true)
    await file.close()
    const storage = await openStorage(`lmdb:${folder}`)
    const recovery = storage.kind === 'lmdb' ? storage.recovery : undefined
    await storage.close()
    t.match(recovery, { problems: [String], kept: { 'state-log': Number } })
    t.ok(
      (await readdir(folder)).some((file) => file.includes('.damaged-')),
      'the damaged file is kept',
    )
    const { state } = await testState(t, { url: `lmdb:${folder}` })
    t.equal(state.size, 500)
    t.same(state.get('key-499'), { n: 499, text: 'x'.repeat(300) })
  })
}

t.test(`wherever a bit flips (${FLIPS} places), nothing is missing in silence`, async (t) => {
  const { folder, path } = await filled(t, true)
  const content = await readFile(path)
  const random = seededRandom(SEED)
  const value = (n: number) => ({ n, text: 'x'.repeat(300) })
  for (let round = 0; round < FLIPS; round++) {
    // Half of them in the pages that the last commits wrote, where the live data is.
    const at = random.integer(random.chance(0.5) ? Math.floor(content.length / 2) : 0, content.length - 1)
    const bit = random.integer(0, 7)
    const damaged = Buffer.from(content)
    damaged[at] = (damaged[at] as number) ^ (1 << bit)
    await writeFile(path, damaged)
    const { state, close } = await testState(t, { url: `lmdb:${folder}` })
    const wrong = Array.from({ length: 500 }, (_, n) => n).filter((n) => !sameJson(state.get(`key-${n}`), value(n)))
    t.same([state.size, wrong], [500, []], `seed ${SEED}, round ${round}: bit ${bit} of byte ${at}`)
    await close()
  }
  const found = (await readdir(folder)).filter((file) => file.includes('.damaged-')).length
  t.comment(`${found} of ${FLIPS} were found and repaired from the backup, the others harmed nothing`)
})

t.test('without a backup the start is empty, and loud', async (t) => {
  const { folder, path } = await filled(t, false)
  await damages['zeroed']?.(path)
  const storage = await openStorage(`lmdb:${folder}`)
  const recovery = storage.kind === 'lmdb' ? storage.recovery : undefined
  await storage.close()
  t.match(recovery, { problems: [String], quarantined: String, kept: {}, restored: {} })
  const again = await openStorage(`lmdb:${folder}`)
  t.equal(again.kind === 'lmdb' ? again.recovery : 'other', undefined, 'and the next start is an ordinary one')
  await again.close()
  const { state } = await testState(t, { url: `lmdb:${folder}` })
  t.equal(state.size, 0)
})

t.test('a backup that is damaged as well is passed over for an older one', async (t) => {
  const { folder, path } = await filled(t, true)
  await writeFile(join(folder, BACKUP_FOLDER, '9999.mdb'), 'newer, and useless')
  await damages['truncated']?.(path)
  const { state } = await testState(t, { url: `lmdb:${folder}` })
  t.equal(state.size, 500)
})

t.test('a full disk is 507, the process lives, reads and deletes go on, and room lets it recover', async (t) => {
  const folder = await temporaryFolder(t)
  const filler = join(root, 'test/fixtures/state-filler.ts')
  // A limit on the size of files stands for the disk: it needs no privilege, and fails the same write.
  const shell = `trap '' XFSZ; ulimit -f 4000; exec ${[process.execPath, ...process.execArgv, filler, folder].join(' ')}`
  const child = spawn('bash', ['-c', shell], { stdio: ['ignore', 'pipe', 'ignore'] })
  // Not `exit`: its output may come later.
  const exited = once(child, 'close')
  let output = ''
  child.stdout.on('data', (chunk) => {
    output += chunk
  })
  t.same(await exited, [0, null])
  t.same(JSON.parse(output.trim().split('\n').at(-1) ?? '{}'), {
    codes: ['STATEFUL_STORAGE_FULL'],
    readable: true,
    deleted: true,
    recovered: true,
    unhandled: 0,
  })
})

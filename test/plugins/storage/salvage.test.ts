import { copyFile, mkdir, readFile, stat, symlink, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { DataFile } from '../../../plugins/storage/lmdb/data-file.ts'
import { DATABASE_FILE, type FileReport, verifyFile } from '../../../plugins/storage/lmdb/verify.ts'
import type { LmdbStorage } from '../../../plugins/storage/storage.ts'
import { ManualClock } from '../../../plugins/support/manual-clock.ts'
import { fillFolder, NOW, openFolder, overwrite, readFolder, setAside, storesOf } from '../../fixtures/data-folder.ts'
import { seededRandom } from '../../fixtures/random.ts'
import { mountSmallDisk } from '../../fixtures/small-disk.ts'
import { temporaryFolder } from '../../fixtures/storages.ts'

const COUNT = 400
const PAGE = 4_096
/** Damaged places tried, the same in every run; each costs a boot. */
const ROUNDS = Number(process.env['DAMAGES'] ?? 30)
const SEED = Number(process.env['CHAOS_SEED'] ?? 1)

const full = await (async () => {
  const folder = await temporaryFolder(t)
  const storage = await openFolder(folder)
  await fillFolder(storage, COUNT)
  await storage.close()
  return join(folder, DATABASE_FILE)
})()

/** A folder of its own with the same content, to be damaged. */
async function copyOf(t: Test): Promise<{ folder: string; path: string }> {
  const folder = await temporaryFolder(t)
  const path = join(folder, DATABASE_FILE)
  await copyFile(full, path)
  return { folder, path }
}

async function verified(path: string): Promise<FileReport> {
  const file = await DataFile.open(path)
  return verifyFile(file).finally(() => file.close())
}

/** Number of the page that holds a text in use; LMDB leaves older copies of pages behind, so it breaks each. */
async function pagesWith(path: string, text: string, kind: number): Promise<number[]> {
  const bytes = await readFile(path)
  return Array.from({ length: bytes.length / PAGE }, (_, page) => page).filter((page) => {
    const content = bytes.subarray(page * PAGE, (page + 1) * PAGE)
    return page > 1 && content.readUInt16LE(18) === kind && content.includes(text)
  })
}

t.test('what is written is found sound, whatever LMDB does with its pages', async (t) => {
  t.match(await verified(full), { problems: [], damaged: false, complete: true })
  const { folder, path } = await copyOf(t)
  const random = seededRandom(SEED)
  for (let round = 0; round < 6; round++) {
    const storage = await openFolder(folder)
    const other = storage.root.openDB<Buffer, string>({ name: 'of-the-application', encoding: 'binary' })
    for (let n = 0; n < 300; n++) {
      const key = `${random.integer(0, 400)}`
      if (random.chance(0.4)) void other.remove(key)
      else void other.put(key, Buffer.alloc(random.integer(0, 9_000), round))
    }
    await storage.root.flushed
    t.match(await verified(path), { problems: [] }, 'while it is open')
    await storage.close()
    t.match(await verified(path), { problems: [] })
  }
})

t.test('accounts and sessions are kept when a page of the state is broken', async (t) => {
  const { folder, path } = await copyOf(t)
  const before = await openFolder(folder)
  const position = await storesOf(before).state.load()
  await before.close()
  const [page = 0] = await pagesWith(path, 'app/key/key-21', 2)
  for (const page of await pagesWith(path, 'app/key/key-21', 2)) await overwrite(path, page * PAGE, Buffer.alloc(PAGE))
  const storage = await openFolder(folder)
  t.match(storage.recovery, { problems: [/'state-log', page \d+: /], kept: { accounts: COUNT } })
  const content = await readFolder(storage, COUNT)
  t.match(content, { accounts: COUNT, sessions: COUNT, wrong: [] })
  t.ok(content.keys > COUNT / 2 && content.keys < COUNT, `${content.keys} keys are kept`)
  const { state } = storesOf(storage)
  t.equal(await state.since(position), undefined, 'whoever holds what is lost gets everything anew')
  await storage.close()
  const aside = await setAside(folder)
  t.equal(aside.length, 2)
  const report = JSON.parse(await readFile(join(folder, aside.find((name) => name.endsWith('.json')) ?? ''), 'utf8'))
  t.match(report, { problems: [{ database: 'state-log', page: Number }], kept: { accounts: COUNT } }, `page ${page}`)
  const again = await openFolder(folder)
  t.equal(again.recovery, undefined, 'and the next start is an ordinary one')
  await again.close()
})

t.test('a record of which a bit flipped is left out by name, and nothing else', async (t) => {
  for (const [database, needle] of [
    ['accounts', 'name-17\u0000'],
    ['sessions', 'text 17 text 17'],
  ] as const) {
    const { folder, path } = await copyOf(t)
    const bytes = await readFile(path)
    for (let at = bytes.indexOf('text 17 text'); at >= 0; at = bytes.indexOf('text 17 text', at + 1)) {
      await overwrite(path, at, Buffer.from('T'))
    }
    const storage = await openFolder(folder)
    t.match(storage.recovery?.problems, [/: the record does not have its checksum/], `${database} ${needle}`)
    t.match(await readFolder(storage, COUNT), { accounts: COUNT - 1, sessions: COUNT - 1, keys: COUNT - 1, wrong: [] })
    await storage.close()
  }
})

t.test('leaves that nothing points to any more are found by their checksums', async (t) => {
  const { folder, path } = await copyOf(t)
  for (const page of await pagesWith(path, 'account-', 1)) await overwrite(path, page * PAGE, Buffer.alloc(PAGE, 7))
  const storage = await openFolder(folder)
  t.match(storage.recovery?.problems, [/'accounts', page/])
  t.match(await readFolder(storage, COUNT), { accounts: COUNT, sessions: COUNT, keys: COUNT, wrong: [] })
  await storage.close()
})

const damages: Record<string, (path: string, random: ReturnType<typeof seededRandom>) => Promise<void>> = {
  'a bit': async (path, random) => {
    const content = await readFile(path)
    const at = random.integer(0, content.length - 1)
    await overwrite(path, at, Buffer.from([(content[at] as number) ^ (1 << random.integer(0, 7))]))
  },
  'a bit of the meta pages': async (path, random) => {
    const at = random.integer(0, 1) * PAGE + random.integer(0, 168)
    const byte = (await readFile(path))[at] as number
    await overwrite(path, at, Buffer.from([byte ^ (1 << random.integer(0, 7))]))
  },
  'zeroed pages': async (path, random) => {
    const pages = Math.floor((await stat(path)).size / PAGE)
    await overwrite(path, random.integer(0, pages - 1) * PAGE, Buffer.alloc(PAGE * random.integer(1, 4)))
  },
  garbage: async (path, random) => {
    const bytes = Buffer.from(Array.from({ length: random.integer(1, 20_000) }, () => random.integer(0, 255)))
    await overwrite(path, random.integer(0, (await stat(path)).size - bytes.length), bytes)
  },
  'a page in the place of another': async (path, random) => {
    const content = await readFile(path)
    const [from, to] = [random.integer(2, content.length / PAGE - 1), random.integer(2, content.length / PAGE - 1)]
    await overwrite(path, to * PAGE, content.subarray(from * PAGE, (from + 1) * PAGE))
  },
  'the end cut off': async (path, random) => truncate(path, random.integer(0, (await stat(path)).size)),
}

for (const [name, damage] of Object.entries(damages)) {
  t.test(
    `${name} (seed ${SEED}): the process lives, nothing is wrong, and nothing is missing in silence`,
    async (t) => {
      const random = seededRandom(SEED)
      let found = 0
      for (let round = 0; round < Math.ceil(ROUNDS / 6); round++) {
        const { folder, path } = await copyOf(t)
        await damage(path, random)
        const storage = await openFolder(folder)
        const content = await readFolder(storage, COUNT)
        t.same(content.wrong, [], `round ${round}`)
        const whole = content.accounts + content.sessions + content.keys === 3 * COUNT
        if (!whole) t.ok(storage.recovery, `round ${round}: it is told`)
        found += storage.recovery ? 1 : 0
        // LMDB, which trusts the file, must be able to work with it.
        await fillFolder(storage, 40, 'more')
        await storage.close()
        t.match(await verified(path), { damaged: false }, `round ${round}`)
      }
      t.comment(`${found} were found, the others harmed nothing`)
    },
  )
}

t.test(
  'what cannot be read for another reason is no damage: the boot is refused, and nothing is touched',
  async (t) => {
    const places: Record<string, (path: string) => Promise<void>> = {
      EISDIR: (path) => mkdir(path).then(() => {}),
      ELOOP: (path) => symlink(path, path),
    }
    for (const [code, make] of Object.entries(places)) {
      const folder = await temporaryFolder(t)
      await make(join(folder, DATABASE_FILE))
      await t.rejects(openFolder(folder), { code: 'STATEFUL_STORAGE_UNCHECKED', message: new RegExp(code) })
      t.same(await setAside(folder), [])
    }
  },
)

t.test('no room, or no time, to keep what is sound refuses the boot, and the file stays as it is', async (t) => {
  const { folder, path } = await copyOf(t)
  await overwrite(path, Math.floor((await stat(path)).size / 2), Buffer.alloc(60_000, 1))
  const damaged = await readFile(path)
  // The place where the sound part would be written is taken by a folder that is not empty.
  await mkdir(`${path}.salvaged`)
  await writeFile(join(`${path}.salvaged`, 'file'), '')
  await t.rejects(openFolder(folder), { code: 'STATEFUL_STORAGE_NOT_SALVAGED' })
  const other = await copyOf(t)
  await writeFile(other.path, damaged)
  await t.rejects(openFolder(other.folder, { recoveryTimeout: 0 }), {
    code: 'STATEFUL_STORAGE_NOT_SALVAGED',
    message: /pluginTimeout/,
  })
  for (const where of [folder, other.folder]) {
    t.same(await setAside(where), [])
    t.ok((await readFile(join(where, DATABASE_FILE))).equals(damaged))
  }
})

t.test('on a full disk LMDB is not asked to write what is sound', async (t) => {
  const disk = mountSmallDisk(t, 32)
  if (!disk) return t.comment('mounting a small disk takes root on Linux')
  const path = join(disk.folder, DATABASE_FILE)
  await copyFile(full, path)
  await overwrite(path, Math.floor((await stat(path)).size / 2), Buffer.alloc(60_000, 1))
  const damaged = await readFile(path)
  await disk.fill()
  // Enough to begin with, and less than what every commit is asked for.
  const ballast = join(disk.folder, 'ballast')
  await truncate(ballast, (await stat(ballast)).size - 2 ** 20)
  await t.rejects(openFolder(disk.folder), { code: 'STATEFUL_STORAGE_NOT_SALVAGED', message: /The storage is full/ })
  t.ok((await readFile(path)).equals(damaged))
  await disk.free()
  const storage = await openFolder(disk.folder)
  t.match(storage.recovery, { kept: { accounts: Number } }, 'with room it is done')
  await storage.close()
})

t.test('a broken record is never used while the storage is open', async (t) => {
  const { folder } = await copyOf(t)
  const told: string[] = []
  const storage = await openFolder(folder, { onDamage: ({ database = '' }) => told.push(database) })
  const { accounts, sessions, cache, journal } = storesOf(storage)
  const flip = async (name: string, key: string | string[]) => {
    const raw = storage.root.openDB<Buffer, string | string[]>({ name, encoding: 'binary' })
    const record = Buffer.from(raw.get(key) as Buffer)
    record[record.length - 2] = (record.at(-2) as number) ^ 4
    await raw.put(key, record)
  }
  await flip('cache', ['app', 'cached-3'])
  t.equal(cache.get('app', 'cached-3'), undefined, 'a miss')
  await storage.ping()
  cache.put('app', 'cached-3', Buffer.from('new'), NOW + 1_000)
  await cache.settled()
  t.equal(cache.get('app', 'cached-3')?.data.toString(), 'new')
  const [first] = (await journal.read('writer', 1, 1)) ?? []
  await flip('cache-journal', ['writer', first?.id ?? ''])
  const [broken, next] = (await journal.read('writer', 1, 2)) ?? []
  t.match([broken?.data.length, next?.key], [0, '1'], 'it is handed over as what its handler refuses')
  await flip('sessions', 'session-5')
  const unreadable: unknown[] = []
  sessions.onUnreadable = (error) => unreadable.push(error)
  t.equal(await sessions.load('session-5', NOW), undefined)
  t.match(unreadable, [{ code: 'STATEFUL_STORAGE_CORRUPT' }])
  t.equal((await sessions.list('owner-5', NOW)).length, COUNT / 10 - 1, 'its owner can log in and out as ever')
  await flip('accounts', 'account-5')
  await t.rejects(accounts.get('account-5'), { code: 'STATEFUL_STORAGE_CORRUPT' })
  await t.rejects(storage.ping(), { code: 'STATEFUL_STORAGE_CORRUPT' }, 'it is not ready any more')
  t.same([...new Set(told)], ['cache', 'cache-journal', 'sessions', 'accounts'])
  await cache.close()
  await storage.close()
  const again = await openFolder(folder, { checkBudget: 0 })
  t.match(again.recovery, { kept: { accounts: COUNT - 1, sessions: COUNT - 1 } }, 'and the next boot reads everything')
  await again.close()
})

t.test('a file that is too large for the time of a boot is read afterwards', async (t) => {
  const { folder, path } = await copyOf(t)
  // Its time stands still, so that the reading does not rest.
  const clock = new ManualClock()
  const sound = await openFolder(folder, { checkBudget: 0, clock })
  await sound.checked
  await sound.ping()
  await sound.close()
  const bytes = await readFile(path)
  for (let at = bytes.indexOf('text 17 text'); at >= 0; at = bytes.indexOf('text 17 text', at + 1)) {
    await overwrite(path, at, Buffer.from('T'))
  }
  const storage: LmdbStorage = await openFolder(folder, { checkBudget: 0, clock })
  t.equal(storage.recovery, undefined)
  await storage.checked
  await t.rejects(storage.ping(), { code: 'STATEFUL_STORAGE_CORRUPT' })
  await storage.close()
  await t.rejects(openFolder(folder, { checkBudget: 0, recoveryTimeout: 0 }), { code: 'STATEFUL_STORAGE_NOT_SALVAGED' })
  const mended = await openFolder(folder, { checkBudget: 0 })
  t.match(await readFolder(mended, COUNT), { accounts: COUNT - 1, wrong: [] })
  await mended.close()
})

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdir, readFile, stat, truncate, writeFile } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import Fastify from 'fastify'
import t, { type Test } from 'tap'
import { storage as storagePlugin } from '../../../plugins/storage/index.ts'
import { BACKUP_FOLDER, backupsIn } from '../../../plugins/storage/lmdb/backup.ts'
import { DATABASE_FILE } from '../../../plugins/storage/lmdb/verify.ts'
import { ManualClock } from '../../../plugins/support/manual-clock.ts'
import { fillFolder, openFolder, overwrite, readFolder, setAside, storesOf } from '../../fixtures/data-folder.ts'
import { temporaryFolder } from '../../fixtures/storages.ts'
import { untrackedTypeScript } from '../../fixtures/untracked.ts'

const root = fileURLToPath(new URL('../../..', import.meta.url))
const COUNT = 100
const DAY = 24 * 60 * 60_000

/** A storage that makes backups, and the end of each attempt. */
async function scheduled(t: Test, folder: string, clock: ManualClock, plan = { every: DAY, keep: 3 }) {
  const storage = await openFolder(folder, { clock })
  t.teardown(() => storage.close())
  const waiting: ((outcome: string) => void)[] = []
  const tell = (outcome: string) => waiting.shift()?.(outcome)
  await storage.backups.start(plan, {
    onMade: ({ path }) => tell(basename(path)),
    onFailed: (error) => tell(error.message),
  })
  /** Moves the clock, and waits for what falls due. */
  const after = async (ms: number) => {
    const outcome = new Promise<string>((resolve) => waiting.push(resolve))
    clock.advance(ms)
    return outcome
  }
  return { storage, after }
}

const names = async (folder: string) => (await backupsIn(folder)).map((path) => basename(path))

t.test('one a day, three are kept, and a restart does not put the next one off', async (t) => {
  const folder = await temporaryFolder(t)
  const clock = new ManualClock(Date.UTC(2026, 0, 1))
  const first = await scheduled(t, folder, clock)
  await fillFolder(first.storage, COUNT)
  t.equal(await first.after(60_000), '2026-01-01T00-01-00.000Z.mdb', 'the first one soon')
  for (const day of [2, 3, 4]) t.equal(await first.after(DAY), `2026-01-0${day}T00-01-00.000Z.mdb`)
  t.same(await names(folder), [
    '2026-01-04T00-01-00.000Z.mdb',
    '2026-01-03T00-01-00.000Z.mdb',
    '2026-01-02T00-01-00.000Z.mdb',
  ])
  await first.storage.close()
  clock.advance(DAY / 2)
  const second = await scheduled(t, folder, clock)
  t.equal(await second.after(DAY / 2), '2026-01-05T00-01-00.000Z.mdb')
  t.equal((await names(folder)).length, 3)
  await second.storage.close()
  t.equal(clock.timers, 0, 'and no timer is left')
  clock.jump(-30 * DAY)
  const third = await scheduled(t, folder, clock)
  t.match(await third.after(DAY), /^2025-12/, 'a clock that went back puts it off for a day at the most')
})

t.test('what is written meanwhile is not in it, and it is whole', async (t) => {
  const folder = await temporaryFolder(t)
  const storage = await openFolder(folder)
  await fillFolder(storage, COUNT)
  const { cache } = storesOf(storage)
  let writing = true
  const writes = (async () => {
    for (let n = 0; writing; n++) {
      cache.put('app', `later-${n % 500}`, Buffer.alloc(n % 9_000), Number.MAX_SAFE_INTEGER)
      await cache.settled()
    }
  })()
  const made: string[] = []
  for (let n = 0; n < 5; n++) made.push((await storage.backups.make()).path)
  writing = false
  await writes
  await cache.close()
  await storage.close()
  t.equal(new Set(made).size, 5)
  const other = await temporaryFolder(t)
  await writeFile(join(other, DATABASE_FILE), await readFile(made[4] as string))
  const restored = await openFolder(other)
  t.equal(restored.recovery, undefined, 'put back by hand it is a database as any other')
  t.match(await readFolder(restored, COUNT), { accounts: COUNT, sessions: COUNT, keys: COUNT, wrong: [] })
  await restored.close()
})

t.test('a backup of what is damaged is none; the earlier ones stay, and the process is not ready', async (t) => {
  const folder = await temporaryFolder(t)
  const clock = new ManualClock()
  const { storage, after } = await scheduled(t, folder, clock)
  await fillFolder(storage, COUNT)
  await after(60_000)
  const before = await names(folder)
  const path = join(folder, DATABASE_FILE)
  const bytes = await readFile(path)
  for (let at = bytes.indexOf('text 17 text'); at >= 0; at = bytes.indexOf('text 17 text', at + 1)) {
    await overwrite(path, at, Buffer.from('T'))
  }
  t.match(await after(DAY), /STATEFUL|damaged/)
  t.same(await readdir(join(folder, BACKUP_FOLDER)), before)
  await t.rejects(storage.ping(), { code: 'STATEFUL_STORAGE_CORRUPT' })
  t.match(await after(60 * 60_000), /damaged/, 'and it is tried again after an hour')
  await storage.close()
  const again = await openFolder(folder)
  t.match(again.recovery, { restored: { accounts: before[0], 'state-log': before[0] } })
  const content = await readFolder(again, COUNT)
  t.match(content, { accounts: COUNT, keys: COUNT, wrong: [] }, 'broken records come from the backup')
  t.equal(content.sessions, COUNT - 1, 'but no session, for it may have been ended since')
  await again.close()
})

t.test(
  'of a database that is gone the newest sound backup is taken; what a backup must not bring back stays away',
  async (t) => {
    const folder = await temporaryFolder(t)
    const storage = await openFolder(folder)
    await fillFolder(storage, COUNT)
    const { path } = await storage.backups.make()
    await storage.close()
    await writeFile(join(folder, BACKUP_FOLDER, '9999.mdb'), 'newer, and useless')
    await truncate(join(folder, DATABASE_FILE), 8_192)
    const again = await openFolder(folder)
    t.match(again.recovery, { restored: { accounts: basename(path), 'state-log': basename(path) } })
    t.match(await readFolder(again, COUNT), { accounts: COUNT, keys: COUNT, sessions: 0, wrong: [] })
    const { cache, journal } = storesOf(again)
    t.same([...cache.keys('app')], [], 'what was invalidated')
    t.same(await journal.size('writer'), { pending: 0, dead: 0 }, 'what was carried out')
    await cache.close()
    await again.close()
  },
)

t.test('an empty file where there are backups was not made by a start', async (t) => {
  const folder = await temporaryFolder(t)
  const storage = await openFolder(folder)
  await fillFolder(storage, COUNT)
  await storage.close()
  const path = join(folder, DATABASE_FILE)
  const bytes = await readFile(path)
  await truncate(path, 0)
  const empty = await openFolder(folder)
  t.equal(empty.recovery, undefined, 'without one it is a first start that was cut off')
  await empty.close()
  await writeFile(path, bytes)
  const again = await openFolder(folder)
  await again.backups.make()
  await again.close()
  await truncate(path, 0)
  const restored = await openFolder(folder)
  t.match(await readFolder(restored, COUNT), { accounts: COUNT, keys: COUNT })
  await restored.close()
})

t.test('no room on the disk leaves nothing behind', async (t) => {
  const folder = await temporaryFolder(t)
  const storage = await openFolder(folder)
  await fillFolder(storage, COUNT)
  await storage.close()
  const size = (await stat(join(folder, DATABASE_FILE))).size
  // A limit on the size of files stands for the disk; half of the file has room.
  // Untracked: a record of its coverage would not fit either.
  const maker = untrackedTypeScript('test/fixtures/backup-maker.ts', folder).flat()
  const shell = `ulimit -f ${Math.ceil(size / 1024 / 2)}; exec ${maker.join(' ')}`
  const child = spawn('bash', ['-c', shell], { cwd: root, stdio: ['ignore', 'pipe', 'inherit'] })
  let output = ''
  child.stdout.on('data', (chunk) => {
    output += chunk
  })
  t.same(await once(child, 'close'), [0, null])
  t.equal(output, 'STATEFUL_BACKUP_FAILED')
  t.same(await readdir(join(folder, BACKUP_FOLDER)), [])
})

t.test(
  'a close ends a backup that is being made, and the next start clears away what a dead process left',
  async (t) => {
    const folder = await temporaryFolder(t)
    const storage = await openFolder(folder)
    await fillFolder(storage, COUNT)
    const making = storage.backups.make()
    await Promise.all([t.rejects(making, { code: 'STATEFUL_BACKUP_FAILED' }), storage.close()])
    await writeFile(join(folder, BACKUP_FOLDER, '2026-01-01T00-00-00.000Z.mdb.unfinished'), 'half')
    const { storage: next } = await scheduled(t, folder, new ManualClock())
    t.same(await readdir(join(folder, BACKUP_FOLDER)), [])
    await next.close()
  },
)

t.test('the plugin makes them by default, and refuses what makes no sense', async (t) => {
  const folder = await temporaryFolder(t)
  const clock = new ManualClock()
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(storagePlugin, { storage: `lmdb:${folder}`, clock })
  await app.ready()
  t.equal(clock.timers, 1)
  await app.close()
  t.equal(clock.timers, 0)
  for (const backup of [{ keep: 0 }, { keep: 1.5 }, { every: 5 }]) {
    const other = Fastify()
    await t.rejects(
      async () => {
        await other.register(storagePlugin, { storage: 'memory:', backup })
      },
      { code: 'STATEFUL_INVALID_OPTION' },
    )
    await other.close()
  }
  const without = Fastify()
  await without.register(storagePlugin, { storage: `lmdb:${folder}`, clock, backup: false })
  t.equal(clock.timers, 0)
  await without.close()
  t.same(await setAside(folder), [])
})

/** `export` and `import`: from one kind of storage to another and back, interrupted, repeated, damaged. */
import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { gunzipSync } from 'node:zlib'
import t, { type Test } from 'tap'
import type { ExportRecord } from '../../cli/transfer/format.ts'
import { readStores } from '../../cli/transfer/read.ts'
import { openWhole, storesOn } from '../../cli/transfer/stores.ts'
import { RecordWriter } from '../../cli/transfer/write.ts'
import { loggedIn, testApp } from '../fixtures/app.ts'
import { command } from '../fixtures/command.ts'
import { testState } from '../fixtures/state.ts'
import { storageUrl, temporaryFolder } from '../fixtures/storages.ts'
import { untracked } from '../fixtures/untracked.ts'

const MAIN = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url))
const HOUR = 3_600_000

t.setTimeout(300_000)

/** Many of everything; the same for the same numbers. */
function* content(keys: number, others: number): Generator<ExportRecord> {
  const now = Date.now()
  const digits = (n: number) => `${n}`.padStart(7, '0')
  for (let n = 0; n < others; n++) {
    const username = `user ${digits(n)}`
    const passwordHash = '$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHQ$aGFzaA'
    yield {
      account: { id: `id-${n}`, username, nameKey: username, role: 'user', passwordHash, email: 'ü@example.com' },
    }
  }
  yield {
    token: {
      id: 'token',
      digest: 'd'.repeat(43),
      name: 'scraper',
      scopes: ['stats:read'],
      createdAt: now,
      expiresAt: now + HOUR,
    },
  }
  for (let n = 0; n < others; n++) {
    yield {
      session: {
        id: `${(n % 256).toString(16).padStart(2, '0')}${`handle${digits(n)}`.padEnd(43, 'x')}`,
        owner: `${(n % 256).toString(16).padStart(2, '0')}${`owner${n % 100}`.padEnd(24, 'x')}`,
        ...{ created: now - 1_000, seen: now, expires: now + HOUR, ends: now + 2 * HOUR, version: 1, logins: 3 },
        ...{ meta: '{"u":"ada"}', fields: { user: '{"id":"ada"}', text: '"ü\\n"' } },
      },
    }
  }
  for (let n = 0; n < keys; n++) {
    const space = n % 10 === 0 ? 'board' : 'app'
    yield { key: { space, key: `key:${digits(n)}`, value: { n, text: 'ä"\\', list: [null, true] }, revision: 1 } }
  }
  yield { key: { space: 'app', key: 'ends', value: 1, revision: 1, expiresAt: now + HOUR } }
  for (let n = 0; n < others; n++) {
    const data = Buffer.from([n % 256, 0, 255, 10]).toString('base64')
    yield {
      letter: {
        ...{ writer: 'users', id: `${n}`.padStart(16, '0'), namespace: 'default', key: `key ${n}`, data },
        ...{ reason: 'refused', at: now },
      },
    }
  }
}

async function fill(url: string, keys: number, others: number): Promise<void> {
  const storage = await openWhole(url)
  const stores = await storesOn(storage)
  const writer = new RecordWriter(stores, Date.now)
  let batch: ExportRecord[] = []
  for (const record of content(keys, others)) {
    batch.push(record)
    if (batch.length === 5_000) await writer.write(batch.splice(0))
  }
  await writer.write(batch)
  batch = []
  await writer.close()
  await stores.close()
  await storage.close()
}

/** All that a storage has, by kind and sorted, without what is another one in each storage. */
async function everything(url: string): Promise<string[]> {
  const storage = await openWhole(url)
  const stores = await storesOn(storage)
  try {
    const records: string[] = []
    for await (const record of readStores(stores, Date.now())) {
      if ('letter' in record) record.letter.id = ''
      records.push(canonical(record))
    }
    return records.sort()
  } finally {
    await stores.close()
    await storage.close()
  }
}

/** Where each space stands, by its name, and each key, by `<space> <key>`. */
async function revisions(url: string): Promise<Map<string, number>> {
  const storage = await openWhole(url)
  const stores = await storesOn(storage)
  try {
    const found = new Map<string, number>()
    for await (const record of readStores(stores, Date.now())) {
      if ('space' in record) found.set(record.space.name, record.space.revision)
      if ('key' in record) found.set(`${record.key.space} ${record.key.key}`, record.key.revision)
    }
    return found
  } finally {
    await stores.close()
    await storage.close()
  }
}

const canonical = (value: unknown): string =>
  JSON.stringify(value, (_, part) =>
    typeof part === 'object' && part !== null && !Array.isArray(part)
      ? Object.fromEntries(Object.entries(part).sort(([a], [b]) => (a < b ? -1 : 1)))
      : part,
  )

async function run(t: Test, args: string[]): Promise<Record<string, unknown>> {
  const { code, stdout, stderr } = await command([...args, '--json'])
  t.equal(code, 0, `${args[0]}: ${stderr}`)
  return JSON.parse(stdout)
}

/** `KEYS=100000` for as many as a space may hold, `OTHERS=100000` for as many sessions, accounts and dead letters. */
const KEYS = Number(process.env['KEYS'] ?? 5_000)
const OTHERS = Number(process.env['OTHERS'] ?? 500)

t.test(`LMDB → Redis → LMDB: ${KEYS} keys, sessions, accounts and dead letters are equal`, async (t) => {
  const [lmdb, redis, back] = [await storageUrl(t, 'lmdb'), await storageUrl(t, 'redis'), await storageUrl(t, 'lmdb')]
  const folder = await temporaryFolder(t)
  const [first, second] = [join(folder, 'first.ndjson.gz'), join(folder, 'second.ndjson')]
  await fill(lmdb, KEYS, OTHERS)
  const before = await everything(lmdb)
  t.equal(before.length, KEYS + 3 * OTHERS + 4)

  const counts = { account: OTHERS, token: 1, session: OTHERS, space: 2, key: KEYS + 1, letter: OTHERS }
  t.match(await run(t, ['export', first, '--storage', lmdb]), { ...counts, waiting: 0 })
  t.equal((await stat(first)).mode & 0o777, 0o600, 'it has password hashes: only its owner reads it')
  t.match(
    JSON.parse(
      gunzipSync(await readFile(first))
        .toString()
        .split('\n')[0] as string,
    ),
    { version: 1 },
  )
  t.match(await run(t, ['import', first, '--storage', redis]), {
    ...counts,
    written: before.length,
    same: 0,
    taken: [],
  })
  t.ok(
    (await everything(redis)).every((record, i) => record === before[i]),
    'everything is in Redis',
  )
  t.match(await run(t, ['export', second, '--storage', redis]), counts)
  t.match(await run(t, ['import', second, '--storage', back]), { written: before.length })
  t.ok(
    (await everything(back)).every((record, i) => record === before[i]),
    'and back in LMDB',
  )
  t.match(await run(t, ['import', second, '--storage', back]), { written: 0, same: before.length }, 'twice is once')
  t.notOk(existsSync(`${second}.position`), 'and nothing is left beside the file')
})

t.test('one that was killed goes on where it was', async (t) => {
  const [from, to] = [await storageUrl(t, 'lmdb'), await storageUrl(t, 'lmdb')]
  const file = join(await temporaryFolder(t), 'all.ndjson')
  await fill(from, 10_000, 100)
  await run(t, ['export', file, '--storage', from])
  const child = spawn(...untracked(process.execPath, [MAIN, 'import', file, '--storage', to]), { stdio: 'ignore' })
  const exited = once(child, 'exit')
  while (!existsSync(`${file}.position`)) await new Promise((resolve) => setTimeout(resolve, 5))
  child.kill('SIGKILL')
  await exited
  t.ok(existsSync(`${file}.position`), 'it was under way')
  const { stderr, code } = await command(['import', file, '--storage', to])
  t.equal(code, 0)
  t.match(stderr, /goes on behind line \d+/)
  t.same(await everything(to), await everything(from))

  const other = await storageUrl(t, 'lmdb')
  await writeFile(`${file}.position`, JSON.stringify({ id: 'of another file', target: 'x', line: 20_000 }))
  await run(t, ['import', file, '--storage', other])
  t.equal(
    (await everything(other)).length,
    (await everything(from)).length,
    "another file's position is not this one's",
  )
})

t.test('progress on a terminal', async (t) => {
  const from = await storageUrl(t, 'lmdb')
  const file = join(await temporaryFolder(t), 'all.ndjson')
  await fill(from, 5_000, 10)
  const shell = `'${process.execPath}' '${MAIN}' export '${file}' --storage '${from}' && '${process.execPath}' '${MAIN}' import '${file}' --storage '${await storageUrl(t, 'lmdb')}'`
  const { stdout } = await promisify(execFile)('script', ['-qec', shell, '/dev/null'], {
    env: { PATH: process.env['PATH'], TERM: 'xterm' },
  })
  t.match(stdout, /exporting [\d,]+/)
  t.match(stdout, /importing [█░]+ \d+% [\d,]+ of [\d,]+/)
})

t.test('beside what is there: sessions open, a name that is taken is told, live servers see the keys', async (t) => {
  const [from, to] = [await storageUrl(t, 'lmdb'), await storageUrl(t, 'redis')]
  const file = join(await temporaryFolder(t), 'all.ndjson')
  const source = await testApp(t, { storage: from })
  const admin = await loggedIn(source)
  await source.accounts.create({ username: 'ada', password: 'a good password', role: 'user' })
  await source.state.set('title', 'moved', { ttl: HOUR })
  await source.close()
  await run(t, ['export', file, '--storage', from])

  const target = await testApp(t, { storage: to })
  await target.state.set('own', 1)
  const seen = new Promise((resolve) => target.state.on('change:title', resolve))
  const { code, stderr } = await command(['import', file, '--storage', to])
  t.match({ code, stderr }, { code: 1, stderr: /have their names: admin\n.*STATEFUL_USERNAME_TAKEN/ })
  t.match(await seen, { value: 'moved' })
  t.same([target.state.get('own'), target.state.get('title')], [1, 'moved'])
  await loggedIn(target, 'ada', 'a good password')
  t.equal((await target.inject({ url: '/profile', headers: { cookie: admin.cookie } })).statusCode, 200)
})

t.test('no revision goes back', async (t) => {
  const [from, to, behind] = [await storageUrl(t, 'lmdb'), await storageUrl(t, 'redis'), await storageUrl(t, 'lmdb')]
  const file = join(await temporaryFolder(t), 'all.ndjson')
  const source = await testState(t, { url: from })
  const app = source.state.space('app')
  for (let n = 1; n <= 9; n++) await app.set(`key ${n}`, n)
  await app.delete('key 9')
  await source.state.space('board').set('title', 'moved')
  const revision = 10
  t.equal(app.revision, revision)
  await source.close()
  await run(t, ['export', file, '--storage', from])
  const exported = await revisions(from)

  const { state: live } = await testState(t, { url: to })
  const [own, board] = [live.space('app'), live.space('board')]
  await own.ready
  await board.set('mine', 1)
  await board.set('title', 'own')
  const { epoch } = board
  const restored = new Promise((resolve) => own.on('restore', resolve))
  t.match(await run(t, ['import', file, '--storage', to]), { space: 2, key: 9, written: 10, same: 1 })
  await restored
  t.equal(own.revision, revision, 'an empty space stands where the exported one stood')
  t.equal(own.get('key 3'), 3)
  t.notOk(own.has('key 9'))
  const moved = await revisions(to)
  for (let n = 1; n <= 8; n++) t.equal(moved.get(`app key ${n}`), exported.get(`app key ${n}`), 'keys keep theirs')
  await own.set('key 2', 'changed')
  t.equal((await revisions(to)).get('app key 2'), revision + 1, 'and goes on from there')
  await board.read('title')
  t.match(board, { epoch, revision: 3 }, 'one that stands further goes on, by commits')
  t.same([board.get('mine'), board.get('title')], [1, 'moved'])
  t.match(await run(t, ['import', file, '--storage', to]), { written: 1 }, 'again: what was changed is as in the file')

  const other = await testState(t, { url: behind })
  await other.state.space('app').set('mine', 1)
  await other.state.space('app').set('key 1', 'own')
  await other.close()
  await run(t, ['import', file, '--storage', behind])
  const after = await revisions(behind)
  t.equal(after.get('app'), revision, 'one that is behind catches up')
  t.equal(after.get('app mine'), 1, 'what was there stays as it was')
  t.equal(after.get('app key 1'), revision, 'a key that was there goes on')
})

t.test('what is no whole export is refused with the reason', async (t) => {
  const folder = await temporaryFolder(t)
  const to = await storageUrl(t, 'lmdb')
  const header = JSON.stringify({ format: 'fastify-stateful export', version: 1, id: 'x', at: '' })
  const key = JSON.stringify({ key: { space: 'app', key: 'a', value: 1, revision: 1 } })
  const cases: [string, RegExp][] = [
    ['', /is no export/],
    ['{"a":1}\n', /is no export/],
    [`${header.replace('"version":1', '"version":2')}\n`, /of version 2/],
    [`${header}\n${key}\n{"key":\n`, /line 3 of the file/],
    [`${header}\n{"other":1}\n`, /line 2 of the file/],
    [`${header}\n${key}\n`, /ends before its last record/],
  ]
  for (const [text, expected] of cases) {
    const file = join(folder, 'file.ndjson')
    await writeFile(file, text)
    t.match(await command(['import', file, '--storage', to, '--restart']), { code: 1, stderr: expected })
  }
  t.match(await command(['import', join(folder, 'none'), '--storage', to]), { code: 1, stderr: /ENOENT/ })
  for (const name of ['export', 'import']) {
    const { code, stderr } = await command([name, join(folder, 'file.ndjson'), '--storage', 'memory:'])
    t.equal(code, 1)
    t.match(
      stderr,
      /no other can read or fill.*GET \/state\/snapshot.*POST \/state\/restore.*STATEFUL_INVALID_CONFIGURATION/,
    )
  }
})

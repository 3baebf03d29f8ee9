import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdir } from 'node:fs/promises'
import t from 'tap'
import { openStorage } from '../../../plugins/storage/index.ts'
import { freePort } from '../../fixtures/redis-server.ts'
import { onEveryStorage, storageUrl, temporaryFolder } from '../../fixtures/storages.ts'

t.test('each kind opens, answers and closes', (t) =>
  onEveryStorage(t, async (t, kind) => {
    const storage = await openStorage(await storageUrl(t, kind))
    t.equal(storage.kind, kind)
    await storage.ping()
    await storage.close()
  }),
)

t.test('an unknown storage is refused without repeating what may be a password', async (t) => {
  const error: Error = await openStorage('postgres://u:secret@h/db').then(t.fail, (error) => error)
  t.match(error, { code: 'STATEFUL_UNKNOWN_STORAGE' })
  t.notMatch(error.message, /secret/)
})

t.test('an unreachable Redis is one clear error within the deadline', async (t) => {
  const started = Date.now()
  const error: Error = await openStorage(`redis://:secret@127.0.0.1:${await freePort()}`).then(t.fail, (error) => error)
  t.match(error, { code: 'STATEFUL_STORAGE_UNAVAILABLE', message: /127\.0\.0\.1:\d+.*ECONNREFUSED/ })
  t.notMatch(error.message, /secret/)
  t.ok(Date.now() - started < 4_000)
})

t.test('a folder has one owner', async (t) => {
  const folder = await temporaryFolder(t)
  const first = await openStorage(`lmdb:${folder}`)
  await t.rejects(openStorage(`lmdb:${folder}`), { code: 'STATEFUL_STORAGE_OWNED' })
  await first.close()
  const second = await openStorage(`lmdb:${folder}`)
  await second.close()
  const left = (await readdir(folder)).filter((name) => name.startsWith('owner'))
  t.strictSame(left, ['owner.2'], 'only the last number is left: it keeps numbers from being used twice')
})

t.test('an owner that was killed does not keep the folder; of many successors one wins', async (t) => {
  const folder = await temporaryFolder(t)
  const owner = spawn(
    process.execPath,
    [
      '-e',
      `const { createServer } = require('node:net')
       createServer().listen(${JSON.stringify(`${folder}/owner.1`)}, () => console.log('owned'))`,
    ],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  )
  await once(owner.stdout, 'data')
  await t.rejects(openStorage(`lmdb:${folder}`), { code: 'STATEFUL_STORAGE_OWNED' })
  owner.kill('SIGSTOP')
  await t.rejects(openStorage(`lmdb:${folder}`), { code: 'STATEFUL_STORAGE_OWNED' }, 'a suspended owner still owns')
  const exited = once(owner, 'exit')
  owner.kill('SIGKILL')
  await exited
  const claims = await Promise.allSettled(Array.from({ length: 8 }, () => openStorage(`lmdb:${folder}`)))
  const winners = claims.flatMap((claim) => (claim.status === 'fulfilled' ? [claim.value] : []))
  t.equal(winners.length, 1)
  await winners[0]?.close()
})

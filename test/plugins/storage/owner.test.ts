import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import * as files from 'node:fs/promises'
import { mkdir, readdir } from 'node:fs/promises'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import type { Readable, Writable } from 'node:stream'
import { fileURLToPath } from 'node:url'
import { Worker } from 'node:worker_threads'
import t, { type Test } from 'tap'
import { openStorage } from '../../../plugins/storage/index.ts'
import { ownFolder } from '../../../plugins/storage/lmdb/owner.ts'
import { testApp } from '../../fixtures/app.ts'
import { temporaryFolder } from '../../fixtures/storages.ts'
import { untrackedTypeScript } from '../../fixtures/untracked.ts'

const SCRIPT = fileURLToPath(new URL('../../fixtures/folder-owner.ts', import.meta.url))
/** As a container has: other process ids, another network, another table of mounts. */
const NAMESPACES = ['unshare', '--user', '--map-root-user', '--pid', '--net', '--mount', '--fork', '--kill-child']

interface Outcome {
  owns: boolean
  code?: string
  message?: string
}

/** Somebody who may own the folder, ready to try. */
interface Candidate {
  tries(): Promise<Outcome>
}

async function candidateOf(stdin: Writable, stdout: Readable): Promise<Candidate> {
  const lines = createInterface({ input: stdout })[Symbol.asyncIterator]()
  const next = async () => {
    const { value, done } = await lines.next()
    if (done) throw new Error('it ended without an outcome')
    return JSON.parse(value)
  }
  await next()
  return {
    tries() {
      stdin.write('now\n')
      return next()
    },
  }
}

async function inProcess(t: Test, folder: string, temporary?: string, before: string[] = []) {
  const [node, run] = untrackedTypeScript(SCRIPT, folder, ...(temporary ? [temporary] : []))
  const [file = '', ...args] = [...before, node, ...run]
  const child: ChildProcess = spawn(file, args, { stdio: ['pipe', 'pipe', 'inherit'] })
  const ended = once(child, 'exit')
  const kill = async () => {
    child.kill('SIGKILL')
    await ended
  }
  t.teardown(kill)
  return { ...(await candidateOf(child.stdin as Writable, child.stdout as Readable)), child, kill }
}

/** A folder whose path is longer than a socket's may be, and a temporary directory of its own for each of `count`. */
async function longFolder(t: Test, count: number) {
  const base = await temporaryFolder(t)
  const folder = join(base, 'd'.repeat(200 - Buffer.byteLength(base) - 1))
  const temporary = Array.from({ length: count }, (_, n) => join(base, `tmp-${n}`))
  await Promise.all([folder, ...temporary].map((path) => mkdir(path)))
  t.equal(Buffer.byteLength(folder), 200)
  return { folder, temporary }
}

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

t.test('of eight processes that start together one owns, and each of the others says why it does not', async (t) => {
  const { folder, temporary } = await longFolder(t, 8)
  const processes = await Promise.all(temporary.map((place) => inProcess(t, folder, place)))
  const outcomes = await Promise.all(processes.map((process) => process.tries()))
  t.equal(outcomes.filter(({ owns }) => owns).length, 1)
  for (const { owns, code, message } of outcomes) {
    if (owns) continue
    t.equal(code, 'STATEFUL_STORAGE_OWNED')
    t.match(message, folder)
    t.match(message, /choose another folder|use Redis/)
  }
  for (const place of temporary) t.strictSame(await readdir(place), [], 'nothing is left outside the folder')

  const owner = processes[outcomes.findIndex(({ owns }) => owns)]
  await owner?.kill()
  const next = await openStorage(`lmdb:${folder}`)
  t.teardown(() => next.close())
  const left = (await readdir(folder)).filter((name) => name.startsWith('owner'))
  t.equal(left.length, 1, 'killed, it is followed at once, and what it left is cleared away')
})

t.test('a suspended owner still owns; of many successors of one that was killed one wins', async (t) => {
  const folder = await temporaryFolder(t)
  const owner = await inProcess(t, folder)
  t.match(await owner.tries(), { owns: true })
  owner.child.kill('SIGSTOP')
  await t.rejects(openStorage(`lmdb:${folder}`), { code: 'STATEFUL_STORAGE_OWNED' })
  await owner.kill()
  const claims = await Promise.allSettled(Array.from({ length: 8 }, () => openStorage(`lmdb:${folder}`)))
  const winners = claims.flatMap((claim) => (claim.status === 'fulfilled' ? [claim.value] : []))
  t.equal(winners.length, 1)
  await winners[0]?.close()
})

t.test('neither a second app of the process nor a worker thread gets it, and a thread that ends lets go', async (t) => {
  const { folder } = await longFolder(t, 0)
  const storage = `lmdb:${folder}`
  const app = await testApp(t, { storage })
  await t.rejects(testApp(t, { storage }), { code: 'STATEFUL_STORAGE_OWNED' })
  const options = { argv: [folder], stdin: true, stdout: true, execArgv: process.execArgv }
  const second = new Worker(SCRIPT, options)
  const refusal = await (await candidateOf(second.stdin as Writable, second.stdout)).tries()
  t.match(refusal, { owns: false, code: 'STATEFUL_STORAGE_OWNED' })
  await second.terminate()
  await app.close()

  const third = new Worker(SCRIPT, options)
  t.match(await (await candidateOf(third.stdin as Writable, third.stdout)).tries(), { owns: true })
  await t.rejects(openStorage(storage), { code: 'STATEFUL_STORAGE_OWNED' })
  await third.terminate()
  const next = await openStorage(storage)
  await next.close()
})

const [file = '', ...args] = NAMESPACES
const { status, stderr, error } = spawnSync(file, [...args, 'true'], { encoding: 'utf8' })
const skip = status === 0 ? false : `no namespaces here: ${error?.message ?? stderr.trim()}`

t.test('an owner in a container and one outside know of each other', { skip }, async (t) => {
  const { folder, temporary } = await longFolder(t, 1)

  const outside = await inProcess(t, folder)
  t.match(await outside.tries(), { owns: true })
  const refused = await inProcess(t, folder, temporary[0], NAMESPACES)
  t.match(await refused.tries(), { owns: false, code: 'STATEFUL_STORAGE_OWNED' })
  await outside.kill()

  const inside = await inProcess(t, folder, temporary[0], NAMESPACES)
  t.match(await inside.tries(), { owns: true })
  await t.rejects(openStorage(`lmdb:${folder}`), { code: 'STATEFUL_STORAGE_OWNED' })
  // With its first process, here `unshare`'s child, the kernel ends all that a container runs.
  const gone = once(inside.child.stdout as Readable, 'close')
  await inside.kill()
  await gone
  const next = await openStorage(`lmdb:${folder}`)
  await next.close()
})

t.test('a claimant that comes late with a number from the past yields to the owner', async (t) => {
  const folder = await temporaryFolder(t)
  const first = await openStorage(`lmdb:${folder}`)
  await first.close()
  const second = await openStorage(`lmdb:${folder}`)
  // So it stands when a claimant read the folder before the second owner came, and linked its name after.
  const late = createServer().listen(join(folder, 'owner.1'))
  await once(late, 'listening')
  await t.rejects(openStorage(`lmdb:${folder}`), { code: 'STATEFUL_STORAGE_OWNED' }, 'the highest number counts')
  await second.close()
  const third = await openStorage(`lmdb:${folder}`)
  const names = (await readdir(folder)).filter((name) => name.startsWith('owner'))
  t.strictSame(names, ['owner.3'], 'whoever owns clears the past away')
  await third.close()
  await new Promise((resolve) => late.close(resolve))
})

t.test('a claimant that links a number which was cleared away meanwhile yields', async (t) => {
  const folder = await temporaryFolder(t)
  await (await ownFolder(folder)).release()
  let goOn = () => {}
  const gate = new Promise<void>((resolve) => {
    goOn = resolve
  })
  let arrive = () => {}
  const arrived = new Promise<void>((resolve) => {
    arrive = resolve
  })
  const slow = await t.mockImport<typeof import('../../../plugins/storage/lmdb/owner.ts')>(
    '../../../plugins/storage/lmdb/owner.ts',
    {
      'node:fs/promises': {
        ...files,
        async link(from: string, to: string) {
          arrive()
          await gate
          return files.link(from, to)
        },
      },
    },
  )
  const late = slow.ownFolder(folder)
  await arrived
  await (await ownFolder(folder)).release()
  const third = await ownFolder(folder)
  goOn()
  await t.rejects(late, { code: 'STATEFUL_STORAGE_OWNED' })
  await third.release()
})

t.test('a claimant whose own name was cleared away has lost', async (t) => {
  const folder = await temporaryFolder(t)
  const cleared = await t.mockImport<typeof import('../../../plugins/storage/lmdb/owner.ts')>(
    '../../../plugins/storage/lmdb/owner.ts',
    {
      'node:fs/promises': {
        ...files,
        async link(from: string, to: string) {
          await files.unlink(from)
          return files.link(from, to)
        },
      },
    },
  )
  await t.rejects(cleared.ownFolder(folder), { code: 'STATEFUL_STORAGE_OWNED' })
  await (await ownFolder(folder)).release()
})

t.test('claimants that come and go never own the folder together, and one gets it', async (t) => {
  const folder = await temporaryFolder(t)
  let owners = 0
  let most = 0
  let won = 0
  const claimant = async () => {
    for (let attempt = 0; attempt < 60; attempt += 1) {
      const ownership = await ownFolder(folder).catch(() => undefined)
      if (!ownership) continue
      owners += 1
      won += 1
      most = Math.max(most, owners)
      await new Promise((resolve) => setImmediate(resolve))
      owners -= 1
      // The name stays and answers nobody, as a killed owner's does.
      await ownership.release()
    }
  }
  await Promise.all(Array.from({ length: 6 }, claimant))
  t.equal(most, 1, 'one at a time')
  t.ok(won > 10, `${won} times`)
})

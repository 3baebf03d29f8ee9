import { execFile } from 'node:child_process'
import { stat } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import t from 'tap'
import { openStorage } from '../../../../plugins/storage/index.ts'
import { onEveryStorage, storageUrl } from '../../../fixtures/storages.ts'
import { untrackedTypeScript } from '../../../fixtures/untracked.ts'

const MIB = 2 ** 20
const BOUND = 32 * MIB
const program = fileURLToPath(new URL('../../../fixtures/big-history.ts', import.meta.url))

interface Told {
  boot: number
  before: number
  most: number
  revision: number
  historyBytes: number
}

async function run(url: string, task: string): Promise<Told> {
  const command = untrackedTypeScript('--max-old-space-size=512', '--expose-gc', program, url, task)
  const { stdout } = await promisify(execFile)(...command, { maxBuffer: MIB })
  return JSON.parse(stdout.trim().split('\n').at(-1) ?? '')
}

t.setTimeout(120_000)

t.test('a key of 200 KB that is set 400 times costs no more than its history may', (t) =>
  onEveryStorage(t, async (t, kind) => {
    const url = await storageUrl(t, kind)
    const { before, most, revision, historyBytes } = await run(url, '400')
    t.equal(revision, 400)
    t.ok(historyBytes <= BOUND && historyBytes > BOUND - 2 * MIB, `${historyBytes} bytes of history`)
    t.ok(most - before <= 150, `${Math.round(most - before)} MiB more`)
    if (kind === 'memory') return
    const { boot } = await run(url, 'boot')
    t.ok(boot < 1_000, `a boot of ${Math.round(boot)} ms`)
    if (kind === 'lmdb') {
      const { size } = await stat(join(url.slice('lmdb:'.length), 'stateful.mdb'))
      t.ok(size <= 3 * BOUND, `a file of ${Math.round(size / MIB)} MiB`)
      return
    }
    const storage = await openStorage(url)
    if (storage.kind !== 'redis') return
    const used = Number(/used_memory:(\d+)/.exec(await storage.client.info('memory', 'k'))?.[1])
    await storage.close()
    t.ok(used <= 3 * BOUND, `${Math.round(used / MIB)} MiB of Redis`)
  }),
)

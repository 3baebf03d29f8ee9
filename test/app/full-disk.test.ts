import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { temporaryFolder } from '../fixtures/storages.ts'

const script = fileURLToPath(new URL('../fixtures/full-disk.ts', import.meta.url))

/** Runs a command where `folder` is a disk of its own, of so many megabytes, that nobody else sees and that ends with it. */
async function onSmallDisk(folder: string, megabytes: number, command: string[]) {
  const mount = `mount -t tmpfs -o size=${megabytes}m tmpfs "$0" || exit 99; exec "$@"`
  const child = spawn('unshare', ['--map-root-user', '--mount', 'sh', '-c', mount, folder, ...command], {
    stdio: ['ignore', 'pipe', 'ignore'],
  })
  let output = ''
  child.stdout.on('data', (chunk) => {
    output += chunk
  })
  const code = await Promise.race([
    once(child, 'close').then(([code]) => code as number | null),
    once(child, 'error').then(() => 99),
  ])
  return { code, output }
}

t.test('a full disk: everything lets go, nothing else is written, and the process can start again', async (t) => {
  const folder = await temporaryFolder(t)
  const { code, output } = await onSmallDisk(folder, 16, [process.execPath, ...process.execArgv, script, folder])
  if (code === 99) return t.pass('needs util-linux and user namespaces for a disk of its own', { skip: true })
  t.equal(code, 0)
  t.strictSame(JSON.parse(output.trim().split('\n').at(-1) ?? '{}'), {
    refused: ['STATEFUL_STORAGE_FULL'],
    destroy: 'ended',
    revokeUser: 5,
    'revokeUser of many': 200,
    'revokeUser at once': true,
    left: 0,
    'delete of state': true,
    'many deletes of state': true,
    'delete of the cache': 1,
    invalidateTags: 'gone',
    expire: 'gone',
    deleteMatching: 11,
    'clear of the cache': 'gone',
    'write-behind': 0,
    'clear of state': 0,
    closed: true,
    start: 'ready',
    'after a start': true,
    'what was ended': 'gone',
    unhandled: 0,
  })
})

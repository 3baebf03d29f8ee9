/** The walkthrough counts what docs/walkthrough.md says that it counts. */
import { execFile } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import t from 'tap'
import { startRedis } from '../fixtures/redis-server.ts'
import { untracked } from '../fixtures/untracked.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))

t.setTimeout(120_000)

/** What it prints, by step, without the times. */
async function run(storage: string): Promise<Map<string, string>> {
  const [command, args] = untracked(process.execPath, ['examples/walkthrough/walkthrough.js'])
  const env = { ...process.env, STORAGE: storage }
  const { stdout } = await promisify(execFile)(command, args, { cwd: root, env, timeout: 100_000 })
  return counts(stdout)
}

function counts(printed: string): Map<string, string> {
  const whole = printed.replaceAll(/\n {18}/g, ' ').replaceAll(/\d+(\.\d+)? ms/g, 'n ms')
  const rows = whole.split('\n').map((line) => [line.slice(0, 18).trim(), line.slice(18)] as const)
  return new Map(rows.filter(([step]) => step !== ''))
}

/** On a busy machine some of the ten who come right after the change are late enough to get the new price. */
function mayBeFewer(steps: Map<string, string>): Map<string, string> {
  const stale = steps.get('stale') ?? ''
  return new Map([...steps, ['stale', stale.replace(/stale answers: ([1-9]|10),/, 'stale answers: 1 to 10,')]])
}

const page = await readFile(new URL('../../docs/walkthrough.md', import.meta.url), 'utf8')
const promised = mayBeFewer(counts(/```text\n(.*?)```/s.exec(page)?.[1] ?? ''))

t.test('on Redis, with two instances', async (t) => {
  t.ok(promised.size > 8)
  const { url } = await startRedis(t)
  t.same(mayBeFewer(await run(url)), promised)
})

t.test('in memory the same, but for the two instances', async (t) => {
  const alone = new Map(promised)
  alone.delete('two instances')
  t.same(mayBeFewer(await run('memory:')), alone)
})

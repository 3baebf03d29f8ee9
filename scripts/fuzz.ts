/**
 * `npm run fuzz -- [--seed N] [--requests N] [--frames N] [--minutes M] [--storage memory|lmdb|redis] [--case C]`: at a
 * real server on each storage, requests and WebSocket frames made from the published documents, from right ones to
 * hostile ones, and HTTP that is none. Each answer must be one that the documents declare; users beside it are served
 * and keep what they were promised. Prints what must not have happened with the case that repeats it, and exits 1 then.
 * With faults of the storages, floods and stalled clients besides: `npm run attack`.
 */
import { parseArgs } from 'node:util'
import { attack, type Outcome } from '../test/attack/attack.ts'
import { report } from '../test/attack/report.ts'
import { Cleanup } from '../test/fixtures/cleanup.ts'
import { type StorageKind, storageKinds } from '../test/fixtures/storages.ts'

const { values } = parseArgs({
  options: {
    seed: { type: 'string', default: `${Date.now() % 1_000_000}` },
    requests: { type: 'string', default: '20000' },
    frames: { type: 'string', default: '20000' },
    minutes: { type: 'string', default: '120' },
    storage: { type: 'string', multiple: true, default: [...storageKinds] },
    case: { type: 'string' },
  },
})
const [seed, requests, frames, minutes] = [values.seed, values.requests, values.frames, values.minutes].map(Number) as [
  number,
  number,
  number,
  number,
]
const unknown = values.storage.filter((kind) => !storageKinds.includes(kind as StorageKind))
const counts = [seed, requests, frames].every((count) => Number.isSafeInteger(count) && count >= 0)
if (!counts || !(minutes > 0) || unknown.length > 0) {
  process.stderr.write(
    'usage: npm run fuzz -- [--seed N] [--requests N] [--frames N] [--minutes M] [--storage S] [--case C]\n',
  )
  process.exit(2)
}

const say = (line: string) => process.stdout.write(`${line}\n`)
const cleanup = new Cleanup()
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  process.once(signal, () => cleanup.run().finally(() => process.exit(1)))
}

const outcomes: Outcome[] = []
try {
  say(`seed ${seed}`)
  for (const kind of values.storage as StorageKind[]) {
    const only = values.case === undefined ? { until: { requests, frames } } : { only: values.case }
    const outcome = await attack(cleanup, kind, { seed, seconds: minutes * 60, log: say, ...only })
    outcomes.push(outcome)
    report(outcome).forEach(say)
    await cleanup.run()
  }
} finally {
  await cleanup.run()
}
process.exitCode = outcomes.some(({ findings }) => findings.length > 0) ? 1 : 0

/**
 * `npm run attack -- [--seed N] [--minutes M] [--storage memory|lmdb|redis] [--case <attack>:<seed>]`: a hostile
 * client and honest users at a real server, on each storage, whose faults come meanwhile. Prints what must not have
 * happened, each with the request that repeats it, and ends with a table. Exits 1 when there is anything.
 */
import { parseArgs } from 'node:util'
import { attack, type Outcome } from '../test/attack/attack.ts'
import { report, table } from '../test/attack/report.ts'
import { Cleanup } from '../test/fixtures/cleanup.ts'
import { type StorageKind, storageKinds } from '../test/fixtures/storages.ts'

const { values } = parseArgs({
  options: {
    seed: { type: 'string', default: `${Date.now() % 1_000_000}` },
    minutes: { type: 'string', default: '1' },
    storage: { type: 'string', multiple: true, default: [...storageKinds] },
    case: { type: 'string' },
  },
})
const seed = Number(values.seed)
const minutes = Number(values.minutes)
const unknown = values.storage.filter((kind) => !storageKinds.includes(kind as StorageKind))
if (!Number.isSafeInteger(seed) || !(minutes > 0 && minutes <= 24 * 60) || unknown.length > 0) {
  process.stderr.write('usage: npm run attack -- [--seed N] [--minutes M] [--storage memory|lmdb|redis] [--case C]\n')
  process.exit(2)
}

const say = (line: string) => process.stdout.write(`${line}\n`)
const cleanup = new Cleanup()
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  process.once(signal, () => cleanup.run().finally(() => process.exit(1)))
}

const outcomes: Outcome[] = []
try {
  say(`seed ${seed}; \`npm run attack -- --seed ${seed} --minutes ${minutes}\` repeats it as far as time allows`)
  for (const kind of values.storage as StorageKind[]) {
    const seconds = minutes * 60
    const only = values.case === undefined ? {} : { only: values.case }
    const outcome = await attack(cleanup, kind, { seed, seconds, log: say, ...only })
    outcomes.push(outcome)
    report(outcome).forEach(say)
    await cleanup.run()
  }
} finally {
  await cleanup.run()
}
table(outcomes).forEach(say)
process.exitCode = outcomes.some(({ findings }) => findings.length > 0) ? 1 : 0

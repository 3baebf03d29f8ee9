/**
 * `npm run attack -- [--seed N] [--minutes M] [--storage memory|lmdb|redis] [--case <attack>:<seed>]`: a hostile
 * client and honest users at a real server, on each storage, whose faults come meanwhile. Prints what must not have
 * happened, each with the request that repeats it, and ends with a table. Exits 1 when there is anything.
 */
import { parseArgs } from 'node:util'
import { table } from '../test/attack/report.ts'
import { storageKinds } from '../test/fixtures/storages.ts'
import { attackStorages, say, storagesNamed } from './attack-storages.ts'

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
const storages = storagesNamed(values.storage)
if (!Number.isSafeInteger(seed) || !(minutes > 0 && minutes <= 24 * 60) || !storages) {
  process.stderr.write('usage: npm run attack -- [--seed N] [--minutes M] [--storage memory|lmdb|redis] [--case C]\n')
  process.exit(2)
}

say(`seed ${seed}; \`npm run attack -- --seed ${seed} --minutes ${minutes}\` repeats it as far as time allows`)
const only = values.case === undefined ? {} : { only: values.case }
table(await attackStorages(storages, { seed, seconds: minutes * 60, ...only })).forEach(say)

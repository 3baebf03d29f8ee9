/**
 * `npm run fuzz -- [--seed N] [--requests N] [--frames N] [--minutes M] [--storage memory|lmdb|redis] [--case C]`: at a
 * real server on each storage, requests and WebSocket frames made from the published documents, from right ones to
 * hostile ones, and HTTP that is none. Each answer must be one that the documents declare; users beside it are served
 * and keep what they were promised. Prints what must not have happened with the case that repeats it, and exits 1 then.
 * With faults of the storages, floods and stalled clients besides: `npm run attack`.
 */
import { parseArgs } from 'node:util'
import { storageKinds } from '../test/fixtures/storages.ts'
import { attackStorages, say, storagesNamed } from './attack-storages.ts'

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
const seed = Number(values.seed)
const requests = Number(values.requests)
const frames = Number(values.frames)
const minutes = Number(values.minutes)
const storages = storagesNamed(values.storage)
const counts = [seed, requests, frames].every((count) => Number.isSafeInteger(count) && count >= 0)
if (!counts || !(minutes > 0) || !storages) {
  process.stderr.write(
    'usage: npm run fuzz -- [--seed N] [--requests N] [--frames N] [--minutes M] [--storage S] [--case C]\n',
  )
  process.exit(2)
}

say(`seed ${seed}`)
const what = values.case === undefined ? { until: { requests, frames } } : { only: values.case }
await attackStorages(storages, { seed, seconds: minutes * 60, ...what })

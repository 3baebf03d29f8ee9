/** Writes once to each of many spaces in a process of its own, and tells what stays of that in memory. */
import { openStateLog } from '../../../plugins/state/log/open.ts'
import { LIMIT_RULES, STATE_RULES } from '../../../plugins/state/options.ts'
import { StateManager } from '../../../plugins/state/spaces.ts'
import { openStorage } from '../../../plugins/storage/index.ts'
import { readOptions } from '../../../plugins/support/options.ts'

export interface ManySpaces {
  /** MiB of RSS when the first tenth had been written to, and when all had. */
  first: number
  last: number
  /** Open at the same time, at the most. */
  open: number
  /** Of some that were read again: those without what was written. */
  lost: number
  writesPerSecond: number
}

const AT_ONCE = 16
const SAMPLE = 100

const [url = '', count = ''] = process.argv.slice(2)
const spaces = Number(count)
const { history } = readOptions(STATE_RULES, undefined)
const storage = await openStorage(url)
const state = new StateManager({
  openLog: (space) => openStateLog(storage, space, history),
  limits: readOptions(LIMIT_RULES, undefined),
  writeTimeout: 30_000,
  pollInterval: 1_000,
  history,
  onError: (error) => process.stderr.write(`${error}\n`),
})
await state.ready

let open = 0
async function write(from: number, to: number): Promise<void> {
  for (let n = from; n < to; n += AT_ONCE) {
    const some = Array.from({ length: Math.min(AT_ONCE, to - n) }, (_, i) =>
      state.space(`room-${n + i}`).set('n', n + i),
    )
    await Promise.all(some)
    open = Math.max(open, state.spaces().length)
  }
}
async function resident(): Promise<number> {
  // What is closed is let go in turns of its own.
  for (let n = 0; n < 3; n++) {
    await new Promise((resolve) => setTimeout(resolve, 50))
    globalThis.gc?.()
  }
  return process.memoryUsage().rss / 2 ** 20
}

const started = performance.now()
await write(0, spaces / 10)
const paused = performance.now()
const first = await resident()
const resumed = performance.now()
await write(spaces / 10, spaces)
const seconds = (performance.now() - resumed + paused - started) / 1_000
const last = await resident()
let lost = 0
for (let n = 0; n < spaces; n += spaces / SAMPLE) if ((await state.space(`room-${n}`).read('n')) !== n) lost++
const told: ManySpaces = { first, last, open, lost, writesPerSecond: spaces / seconds }
process.stdout.write(`${JSON.stringify(told)}\n`)
await state.close()
await storage.close()

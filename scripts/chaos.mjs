/**
 * `npm run chaos -- [--seed N] [--rounds N]`: two real servers on one Redis, clients that write and watch, and a
 * network that misbehaves in an order that the seed decides; ten times as many schedules of faults for three instances;
 * and, in one process, pages that reload, are duplicated, overflow and write nonsense. A failure prints its seed; the
 * same seed replays it.
 *
 * `npm run chaos -- --kill [--storage lmdb|redis] [--seed N] [--rounds N]`: a real server that is ended by `kill -9`
 * in each round, and boots again; what it had acknowledged must be there. On LMDB the same of the state alone.
 */
import { spawn } from 'node:child_process'
import { parseArgs } from 'node:util'

const { values } = parseArgs({
  options: {
    seed: { type: 'string', default: `${Date.now() % 1_000_000}` },
    rounds: { type: 'string', default: '20' },
    kill: { type: 'boolean', default: false },
    storage: { type: 'string' },
  },
})

const files = values.kill
  ? ['test/chaos/kill.test.ts', ...(values.storage === 'redis' ? [] : ['test/plugins/state/log/kill.test.ts'])]
  : ['chaos/pages', 'chaos/two-instances', 'chaos/sync-convergence', 'plugins/state/replica/convergence'].map(
      (name) => `test/${name}.test.ts`,
    )
const tap = spawn('npx', ['tap', '--disable-coverage', '--timeout=3600', '-R', 'tap', ...files], {
  stdio: 'inherit',
  env: {
    ...process.env,
    CHAOS_ROUNDS: values.rounds,
    SCHEDULES: `${values.rounds * 10}`,
    CHAOS_SEED: values.seed,
    // They take a tenth of a second each.
    CHAOS_PAGES: `${Math.max(200, Number(values.rounds))}`,
    ...(values.storage === undefined ? {} : { CHAOS_STORAGE: values.storage }),
  },
})
tap.once('exit', (code) => process.exit(code ?? 1))

/**
 * `npm run chaos -- [--seed N] [--rounds N]`: two real servers on one Redis, clients that write and watch, and a
 * network that misbehaves in an order that the seed decides. A failure prints its seed; the same seed replays it.
 */
import { spawn } from 'node:child_process'
import { parseArgs } from 'node:util'

const { values } = parseArgs({
  options: {
    seed: { type: 'string', default: `${Date.now() % 1_000_000}` },
    rounds: { type: 'string', default: '20' },
  },
})

const tap = spawn(
  'npx',
  [
    'tap',
    '--disable-coverage',
    '--timeout=1800',
    '-R',
    'tap',
    'test/chaos/two-instances.test.ts',
    'test/chaos/sync-convergence.test.ts',
  ],
  {
    stdio: 'inherit',
    env: { ...process.env, CHAOS_ROUNDS: values.rounds, CHAOS_SEED: values.seed },
  },
)
tap.once('exit', (code) => process.exit(code ?? 1))

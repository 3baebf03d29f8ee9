/**
 * Plays random histories in a thread of its own: tap follows each promise of the thread that it runs in, and there are so
 * many of them here that this took five times as long as the histories themselves.
 */
import { parentPort, workerData } from 'node:worker_threads'
import fc from 'fast-check'
import { realEngine } from './engine.ts'
import { plans, play } from './play.ts'

const { histories, seed } = workerData as { histories: number; seed: number }
const outcome = await fc.check(
  fc.asyncProperty(plans, async (plan) => {
    const wrong = await play(realEngine, plan)
    if (wrong.length > 0) throw new Error(wrong.join('\n'))
  }),
  { numRuns: histories, seed },
)
parentPort?.postMessage({
  failed: outcome.failed,
  runs: outcome.numRuns,
  report: await fc.asyncDefaultReportMessage(outcome),
})

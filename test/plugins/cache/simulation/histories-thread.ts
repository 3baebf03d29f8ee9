/** The thread of `startHistories`. */
import { parentPort } from 'node:worker_threads'
import fc from 'fast-check'
import * as writeBehind from '../write-behind/histories/play.ts'
import { engineIn, realEngine } from './engine.ts'
import type { Histories, Outcome } from './histories.ts'
import * as invalidations from './play.ts'

parentPort?.on('message', async (wanted: Histories) => {
  const engine = wanted.engine === undefined ? realEngine : await engineIn(wanted.engine)
  const outcome =
    wanted.game === 'write-behind'
      ? await judge(wanted, writeBehind.plans, (plan) => writeBehind.play(engine, plan))
      : await judge(wanted, invalidations.plans, (plan) => invalidations.play(engine, plan))
  parentPort?.postMessage(outcome)
})

/** @param play answers what was wrong */
async function judge<Plan>(
  { histories, seed, shrink = true }: Histories,
  plans: fc.Arbitrary<Plan>,
  play: (plan: Plan) => Promise<string[]>,
): Promise<Outcome> {
  const details = await fc.check(
    fc.asyncProperty(plans, async (plan) => {
      const wrong = await play(plan)
      if (wrong.length > 0) throw new Error(wrong.join('\n'))
    }),
    { numRuns: histories, seed, endOnFailure: !shrink },
  )
  const report = (await fc.asyncDefaultReportMessage(details)) ?? ''
  return { failed: details.failed, runs: details.numRuns, report }
}
